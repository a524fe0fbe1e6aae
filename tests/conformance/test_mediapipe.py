"""MediaPipe Tasks, the vision API of Android, iOS and the web, reads files as edgevit does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.golden_images import draw_images
from edgevit.core.parity import Verdict
from edgevit.verbs.deploy import deploy
from edgevit.verbs.export import export
from edgevit.verbs.predict import predict
from programs import run_program

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("mediapipe") is None,
        reason="mediapipe is not installed: make test-mediapipe (edgevit[mediapipe])",
    ),
]
INT8 = "tflite-int8"
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "float32": ("tflite-float32", {}),
    "float32 in floats": ("tflite-float32", {"io_dtype": "float32"}),
    "bare": ("tflite-float32", {"preprocess": False}),
    "float16": ("tflite-float16", {}),
    "dynamic": ("tflite-dynamic", {}),
    "dynamic-int4": ("tflite-dynamic-int4", {}),
    "mixed": ("tflite-mixed", {}),
    "int8 to uint8": (INT8, {"output_dtype": "uint8"}),
    "int8 to float32": (INT8, {"output_dtype": "float32"}),
    "int8 in floats": (INT8, {"io_dtype": "float32"}),
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "int8": (INT8, {}, "UINT8 or FLOAT32 or BOOL, found INT8"),
    "int8 in": (INT8, {"io_dtype": "int8", "output_dtype": "uint8"}, "INT8"),
    "int16x8": ("tflite-int16x8", {}, "INT16"),
}
COUNT = 200


@pytest.fixture(scope="module")
def pictures(request) -> np.ndarray:
    """uint8 200 32 32 3: test images of CIFAR-10 where they are here, else synthetic ones."""
    if os.environ.get("EDGEVIT_DATA"):
        return request.getfixturevalue("cifar_test").images[::50][:COUNT]
    return draw_images(COUNT, (32, 32), seed=3)


def ask(kind: str, file: Path, images: np.ndarray, folder: Path) -> dict[str, Any]:
    """What MediaPipe says, in a process of its own."""
    np.save(folder / "pictures.npy", images)
    answer = folder / "answer.json"
    path = os.environ.get("PYTHONPATH", "")
    arguments = (kind, file, folder / "pictures.npy", answer)
    found = run_program("run_mediapipe", *arguments, PYTHONPATH=path)
    assert answer.exists(), found.stderr[-2000:]
    return json.loads(answer.read_text())


def write(model: Any, folder: Path, target: str, **options: Any) -> Path:
    outcome = export(model, target, folder, **options)
    assert outcome.verdict is Verdict.PASS
    return outcome.artifact.path


@pytest.mark.parametrize("name", FILES)
def test_the_classifier_names_the_classes_that_predict_names(pictures, tmp_path, name):
    target, options = FILES[name]
    file = write("shiftvit:nano", tmp_path, target, **options)
    found = ask("classify", file, pictures, tmp_path)
    own = np.stack([row.outputs["logits"] for row in predict(file, pictures)])
    scores = np.array(found["scores"])
    np.testing.assert_allclose(scores, -np.sort(-own, axis=1), atol=1e-4)
    for names, row in zip(found["names"], own, strict=True):
        # Classes whose scores are equal, as happens with 256 levels, have no order.
        assert sorted(names) == sorted(CIFAR10_CLASSES)
        assert row[CIFAR10_CLASSES.index(names[0])] == row.max()


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_the_documents_say(pictures, tmp_path, name):
    target, options, words = REFUSED[name]
    file = write("shiftvit:nano", tmp_path, target, **options)
    assert words in ask("classify", file, pictures[:1], tmp_path)["refused"]


def test_a_kit_passes_its_own_test_and_fails_with_another_file(pictures, tmp_path):
    file = write("shiftvit:nano", tmp_path, INT8, output_dtype="uint8")
    kit = deploy(file, "mediapipe", tmp_path / "kit").path
    found = run_kit(kit, "--self-test")
    assert found.stdout.splitlines()[-1:] == ["pass"], found.stdout + found.stderr
    Image.fromarray(pictures[0]).save(tmp_path / "photo.png")
    assert "photo.png: {" in run_kit(kit, tmp_path / "photo.png").stdout
    program = kit / "edge_model.py"
    text = program.read_text().replace("ask(task, picture),", "ask(task, picture[..., ::-1]),")
    program.write_text(text)
    found = run_kit(kit, "--self-test")
    assert (found.returncode, found.stdout.splitlines()[-1:]) == (1, ["FAIL"])


def run_kit(kit: Path, *arguments: object) -> subprocess.CompletedProcess:
    """The program of a kit, with this Python."""
    command = [sys.executable, str(kit / "edge_model.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=kit, timeout=200)


def segmenter(path: Path, activation: str | None) -> Path:
    import keras

    keras.utils.set_random_seed(2)
    images = keras.Input((24, 20, 3), name="images")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(images / 255.0)
    x = keras.layers.Conv2D(4, 3, padding="same", activation=activation, name="mask")(x)
    keras.Model(images, x).save(path)
    return path


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("options", [{}, {"io_dtype": "float32"}], ids=["uint8", "float32"])
def test_the_segmenter_draws_the_mask_that_predict_draws(tmp_path, activation, options):
    model = segmenter(tmp_path / "net.keras", activation)
    labels = ("road", "tree", "sky", "car")
    file = write(model, tmp_path, "tflite-float32", class_names=labels, **options)
    images = draw_images(20, (24, 20), seed=4)
    found = ask("segment", file, images, tmp_path)
    (name,) = predict(file, images[:1])[0].outputs
    own = np.stack([row.outputs[name].argmax(-1) for row in predict(file, images)])
    np.testing.assert_array_equal(np.array(found["masks"]), own)
    assert found["labels"] == list(labels)


def test_the_embedder_returns_the_vector_that_predict_returns(tmp_path):
    import keras

    keras.utils.set_random_seed(2)
    images = keras.Input((24, 20, 3), name="images")
    x = keras.layers.Conv2D(8, 3, activation="relu")(images / 255.0)
    x = keras.layers.Dense(16)(keras.layers.GlobalAveragePooling2D()(x))
    x = keras.layers.UnitNormalization(name="embedding")(x)
    keras.Model(images, x).save(tmp_path / "net.keras")
    file = write(tmp_path / "net.keras", tmp_path, "tflite-float32")
    images = draw_images(20, (24, 20), seed=4)
    found = ask("embed", file, images, tmp_path)
    own = np.stack([row.outputs["embedding"] for row in predict(file, images)])
    np.testing.assert_allclose(np.array(found["vectors"]), own, atol=1e-5)
