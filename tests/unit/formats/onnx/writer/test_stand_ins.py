"""Stand-ins for large weights change no byte, and leave what an optimiser looks into alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.onnx.writer import stand_ins
from edgevit.formats.onnx.writer.convert import write_float32
from edgevit.formats.onnx.writer.stand_ins import Weights
from helpers.sources import source_of


@pytest.fixture
def small(monkeypatch) -> None:
    """Weights of 1 KiB count as large."""
    monkeypatch.setattr(stand_ins, "LEAST", 1 << 10)


@pytest.fixture
def answers(monkeypatch) -> list[tuple[int, bool]]:
    """(weights left out, whether they were untouched) of each conversion."""
    found: list[tuple[int, bool]] = []
    own = Weights.are_untouched

    def note(self, graph_def):
        found.append((len(self._standing), own(self, graph_def)))
        return found[-1][1]

    monkeypatch.setattr(Weights, "are_untouched", note)
    return found


def make_network() -> keras.Model:
    """A convolution, two products, three of reshaped weights and one with zeros alone."""
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(16, 3, use_bias=False)(images)
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(32, activation="relu")(x)
    x = x + keras.layers.Dense(32, kernel_initializer="zeros")(x)
    x = keras.layers.Reshape((2, 16))(x)
    x = keras.layers.Flatten()(keras.layers.MultiHeadAttention(4, 8)(x, x))
    return keras.Model(images, {"logits": keras.layers.Dense(10)(x)})


def write(network: keras.Model, path) -> bytes:
    write_float32(source_of(network, name="net"), OnnxOptions(), None, path).finish({})
    return path.read_bytes()


def test_the_file_is_the_same(small, answers, tmp_path, monkeypatch):
    network = make_network()
    with_stand_ins = write(network, tmp_path / "net.onnx")
    assert answers == [(6, True)]
    monkeypatch.setattr(stand_ins, "LEAST", 1 << 40)
    assert write(network, tmp_path / "net.onnx") == with_stand_ins
    assert len(answers) == 1


def test_a_weight_that_was_folded_is_put_in(small, answers, tmp_path, monkeypatch):
    network = make_network()
    with_stand_ins = write(network, tmp_path / "net.onnx")
    convolutions = {*stand_ins.PRODUCTS, "Conv2D"}  # which batch norm is multiplied into
    monkeypatch.setattr(stand_ins, "PRODUCTS", convolutions)
    assert write(network, tmp_path / "net.onnx") == with_stand_ins
    assert answers == [(6, True), (7, False)]


def test_nan_is_found_however_it_is_stored():
    import tensorflow as tf

    for values, expected in (([np.nan] * 4, True), ([1, 2, np.nan], True), ([1, 2], False)):
        assert stand_ins._holds_nan(tf.make_tensor_proto(np.float32(values))) is expected
    assert stand_ins._holds_nan(stand_ins._make_stand_in((2, 3)))
