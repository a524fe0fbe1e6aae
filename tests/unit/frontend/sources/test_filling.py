"""Weights from files into a network: every layout, and others refused with the reason."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from edgevit.base.errors import ModelFileError
from edgevit.frontend.sources.filling import fill_network
from helpers.keras2 import write_layers

INPUTS = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)


def build(classes: int = 3) -> keras.Model:
    parts = [
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.GlobalAveragePooling2D(name="pool"),
        keras.layers.Dense(classes, name="head"),
    ]
    return keras.Sequential([keras.Input((6, 6, 3)), *parts], name="net")


def trained() -> keras.Model:
    model = build()
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(0.5, 2, value.shape) for value in model.get_weights()])
    return model


def write_keras3(path: Path, model: keras.Model) -> None:
    model.save_weights(path)


def write_whole(path: Path, model: keras.Model) -> None:
    model.save(path)


def write_keras2(path: Path, model: keras.Model) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        write_layers(file, {layer.name: layer.get_weights() for layer in model.layers})


def write_numbers(path: Path, model: keras.Model) -> None:
    arrays = (np.ascontiguousarray(value) for value in model.get_weights())
    save_file({f"{number:04d}": value for number, value in enumerate(arrays)}, path)


def write_paths(path: Path, model: keras.Model) -> None:
    save_file({part.path: np.asarray(part.value) for part in model.weights}, path)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_keras3, "w.weights.h5"),
        (write_whole, "w.keras"),
        (write_whole, "w.h5"),
        (write_keras2, "w.h5"),
        (write_keras2, "vgg16_tf_kernels.hdf5"),
        (write_numbers, "w.safetensors"),
        (write_paths, "w.safetensors"),
    ],
)
def test_every_layout_of_weights_is_read(write, name, tmp_path):
    model = trained()
    write(tmp_path / name, model)
    network = build()
    fill_network(network, tmp_path / name)
    found, expected = network(INPUTS, training=False), model(INPUTS, training=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_folder_of_a_run_names_its_file(tmp_path):
    write_numbers(tmp_path / "weights.safetensors", trained())
    network = build()
    fill_network(network, tmp_path)
    assert np.array_equal(network.get_weights()[0], trained().get_weights()[0])


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_keras3, "w.weights.h5"),
        (write_whole, "w.keras"),
        (write_keras2, "w.h5"),
        (write_numbers, "w.safetensors"),
        (write_paths, "w.safetensors"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(write, name, tmp_path):
    write(tmp_path / name, trained())
    with pytest.raises(ModelFileError, match="belong to another network") as caught:
        fill_network(build(classes=5), tmp_path / name)
    assert "head" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_of_other_names_are_refused(tmp_path):
    arrays = enumerate(trained().get_weights())
    save_file({f"w{number}": value for number, value in arrays}, tmp_path / "w.safetensors")
    with pytest.raises(ModelFileError, match=r"arrays called w0, w1, w2 \.\.\., where"):
        fill_network(build(), tmp_path / "w.safetensors")


def test_weights_of_keras_3_under_another_name_say_how_they_must_be_called(tmp_path):
    trained().save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "w.weights.h5").rename(tmp_path / "final.h5")
    with pytest.raises(ModelFileError, match=r"Call it final\.weights\.h5"):
        fill_network(build(), tmp_path / "final.h5")


@pytest.mark.parametrize("name", ["w.pt", "w.h5", "w.safetensors", "w.weights.h5"])
def test_a_file_without_weights_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\x02no weights")
    with pytest.raises(ModelFileError) as caught:
        fill_network(build(), tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelFileError, match="no such weights"):
        fill_network(build(), tmp_path / f"not-{name}")


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5"])
def test_truncated_weights_are_refused(name, tmp_path):
    path = tmp_path / name
    (write_keras3 if "weights" in name else write_keras2)(path, trained())
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        fill_network(build(), path)
