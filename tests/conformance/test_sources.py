"""Whatever people have is exported, and the file returns what their model returned."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.core.golden_images import draw_images
from edgevit.formats.registry import open_session
from helpers.keras2 import conv, dense, entry, layer, sequential, write_hdf5

SIZE = (12, 12)
MODULE = """
import keras

print("imported")

def build():
    print("building")
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Rescaling(1 / 255, name="to unit"),
            keras.layers.Conv2D(4, 3, activation="relu", name="erste Schicht (größer)"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ],
        name="my model (final)",
    )
"""


def built() -> keras.Model:
    namespace: dict = {}
    exec(MODULE, namespace)
    return namespace["build"]()


def module(folder: Path) -> tuple[str, keras.Model]:
    (folder / "own_nets.py").write_text(MODULE)
    return "own_nets:build", built()


def plain() -> keras.Model:
    """As :func:`built`, with names that Keras's own exporter takes."""
    model = built()
    parts = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    whole = [keras.layers.Rescaling(1 / 255), *parts, keras.layers.Dense(3)]
    twin = keras.Sequential([keras.Input((*SIZE, 3)), *whole])
    twin.set_weights(model.get_weights())
    return twin


def folder_of_keras(folder: Path) -> tuple[str, keras.Model]:
    model = plain()
    model.export(folder / "exported", verbose=False)
    return str(folder / "exported"), model


def hdf5(folder: Path) -> tuple[str, keras.Model]:
    model = built()
    model.save(folder / "net.h5")
    return str(folder / "net.h5"), model


def half(folder: Path) -> tuple[str, keras.Model]:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        built().save(folder / "half.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    return str(folder / "half.keras"), built()


def keras2(folder: Path) -> tuple[str, keras.Model]:
    model = plain()
    parts = [
        entry("e", *SIZE, 3),
        layer("Rescaling", "r", scale=1 / 255, offset=0.0),
        conv("c", 4, 3, padding="valid", activation="relu"),
        layer("GlobalAveragePooling2D", "g", data_format="channels_last", keepdims=False),
        dense("d", 3),
    ]
    weights = model.get_weights()
    path = folder / "old.h5"
    write_hdf5(path, sequential("old", parts), {"c": weights[:2], "d": weights[2:]})
    return str(path), model


@pytest.mark.parametrize("write", [module, folder_of_keras, hdf5, half, keras2])
def test_a_model_is_exported_from_wherever_it_lies(command, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, model = write(tmp_path)
    images = draw_images(8, SIZE, seed=3)
    expected = np.asarray(model(images.astype(np.float32), training=False))
    formats = "tflite-float32,onnx-float32,savedmodel"
    answer = command("export", name, "--format", formats, "--out", "out", "--json")
    assert answer.code == 0, answer.err
    for row in answer.document:
        assert row["verdict"] == "pass"
        with open_session(Path(row["path"])) as session:
            (found,) = session.run(images).values()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_exported_folder_is_no_source(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, _ = module(tmp_path)
    assert command("export", name, "--format", "savedmodel", "--out", "out").code == 0
    (folder,) = Path("out").glob("*-savedmodel")
    answer = command("export", folder, "--format", "onnx-float32", "--out", "again")
    assert answer.code == 2
    assert "is an export of my_model_final" in answer.error


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_nets.py", "'own_nets:NAME'"),
        ("missing.h5", "no such file"),
        ("nowhere_at_all:build", "no module 'nowhere_at_all'"),
        ("keras.applications.MobileNetV9", "MobileNetV2"),
        ("shiftvot:nano", "shiftvit"),
    ],
)
def test_a_name_that_means_nothing_is_one_line(command, name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module(tmp_path)
    answer = command("export", name, "--format", "onnx-float32")
    assert answer.code == 2
    assert words in answer.error
    assert not [*Path().glob("exports/*")]
