"""A network with an operation that ONNX has no form for."""

from __future__ import annotations

import keras
import pytest

from edgevit.base.errors import ConfigError, ExportError
from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.onnx.writer.float_graph import copy_float_model
from edgevit.frontend.source import Source
from helpers.sources import source_of


class Spectrum(keras.layers.Layer):
    """The real part of a Fourier transform."""

    def call(self, x):
        real, _ = keras.ops.fft2((x[..., 0], keras.ops.zeros_like(x[..., 0])))
        return real


def network_with(layer: keras.layers.Layer) -> Source:
    images = keras.Input((8, 8, 3), name="images")
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(layer(images)))
    return source_of(keras.Model(images, {"logits": logits}))


def test_it_is_named_with_its_layer():
    with pytest.raises(ExportError, match=r"no ONNX form for .*FFT2D \(in layer .*spectrum\)"):
        copy_float_model(network_with(Spectrum(name="spectrum")), OnnxOptions(preprocess=False))


@pytest.mark.parametrize("opset", [16, 21])
def test_an_opset_that_is_not_written_is_refused(opset):
    with pytest.raises(ConfigError, match="17, 18, 19, 20"):
        OnnxOptions(preprocess=False, opset=opset)
