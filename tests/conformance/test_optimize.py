"""``--optimize cpu``: the same answers from fewer multiplications, where it is asked for."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import onnx
import pytest

from edgevit.base.errors import ConfigError
from edgevit.core.parity import Verdict
from edgevit.verbs.export import export_all

SIZE = 10


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A wide and a narrow 3 x 3 convolution."""
    keras.utils.set_random_seed(4)
    images = keras.Input((SIZE, SIZE, 3), name="images")
    x = keras.layers.Conv2D(128, 1, activation="relu", name="widen")(images)
    x = keras.layers.Conv2D(128, 3, padding="same", activation="relu", name="wide")(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="narrow")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(5, name="classifier")(x), name="net")


def kernels(path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("batch", [1, None])
def test_the_file_agrees_and_is_larger(network, tmp_path, batch):
    files = {}
    for optimize in (None, "cpu"):
        (outcome,) = export_all(
            network, "onnx-float32", tmp_path / str(optimize), batch=batch, optimize=optimize
        )
        assert outcome.verdict is Verdict.PASS
        files[optimize] = outcome.artifact
    assert kernels(files[None].path)["Conv"] == 2
    assert kernels(files["cpu"].path)["Conv"] == 1
    assert kernels(files["cpu"].path)["MatMul"] >= 18
    assert "winograd_convolution: 1" in files["cpu"].manifest.steps
    grown = files["cpu"].size_bytes - files[None].size_bytes
    assert 128 * 128 * 7 * 4 <= grown <= 128 * 128 * 7 * 4 + 20_000
    assert all(
        node.name.startswith("net/") or "/" in node.name
        for node in onnx.load(files["cpu"].path).graph.node
    )


def test_other_targets_of_the_same_call_stay_as_they_are(network, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)
    sizes = []
    for optimize in (None, "cpu"):
        outcomes = export_all(
            network,
            "onnx-float32,onnx-int8",
            tmp_path / str(optimize),
            calibration=images,
            optimize=optimize,
        )
        assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 2
        sizes.append(kernels(outcomes[1].artifact.path))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("targets", "optimize", "says"),
    [("tflite-float32,onnx-float16", "cpu", "onnx-float32"), ("onnx-float32", "gpu", "'gpu'")],
)
def test_what_it_says_nothing_about_is_refused(network, tmp_path, targets, optimize, says):
    with pytest.raises(ConfigError, match=says):
        export_all(network, targets, tmp_path / "out", optimize=optimize)
    assert not (tmp_path / "out").exists()


def test_the_command_line_refuses_in_one_line(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = command("export", "shiftvit", "--format", "tflite-int8", "--optimize", "cpu")
    assert answer.code == 2
    assert "\n" not in answer.error
    assert "onnx-float32" in answer.error
    assert not list(tmp_path.iterdir())
