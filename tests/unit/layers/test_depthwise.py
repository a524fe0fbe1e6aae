"""DepthwiseFilter against Keras' grouped convolution with the same kernel."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgevit.layers.depthwise import DepthwiseFilter


@pytest.mark.parametrize("side", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(6, 6), (5, 8), (3, 2)])
def test_result_equals_a_grouped_convolution_padded_with_zeros(side, size):
    rng = np.random.default_rng(side)
    images = rng.normal(size=(2, *size, 6)).astype(np.float32)
    layer = DepthwiseFilter(side)
    grouped = layers.Conv2D(6, side, padding="same", groups=6, use_bias=False)
    layer.build(images.shape)
    grouped.build(images.shape)
    kernel = rng.normal(size=(side, side, 1, 6)).astype(np.float32)
    assert [weight.shape for weight in layer.get_weights()] == [kernel.shape]
    layer.set_weights([kernel])
    grouped.set_weights([kernel])
    expected = ops.convert_to_numpy(grouped(images))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(images)), expected, rtol=0, atol=1e-5)


def test_layer_survives_its_own_config_and_keeps_the_shape():
    layer = DepthwiseFilter(5, name="far")
    assert DepthwiseFilter.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer(keras.Input((4, 7, 3))).shape == (None, 4, 7, 3)


@pytest.mark.parametrize("side", [0, -1, 4])
def test_filters_without_a_middle_are_refused(side):
    with pytest.raises(ValueError, match=f"Received: side={side}"):
        DepthwiseFilter(side)


def test_it_computes_in_float32_whatever_the_policy():
    rng = np.random.default_rng(0)
    images = ops.cast(rng.normal(size=(2, 4, 4, 3)).astype(np.float32), "bfloat16")
    layer = DepthwiseFilter(3, dtype="mixed_bfloat16")
    layer.build((2, 4, 4, 3))
    layer.set_weights([rng.normal(size=(3, 3, 1, 3)).astype(np.float32)])
    exact = DepthwiseFilter(3)
    exact.build((2, 4, 4, 3))
    exact.set_weights(layer.get_weights())
    result = layer(images)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    wanted = ops.cast(exact(ops.cast(images, "float32")), "bfloat16")
    difference = ops.cast(result, "float32") - ops.cast(wanted, "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(difference), 0.0)


@pytest.mark.parametrize(("size", "taps"), [((2, 2), (3, 3)), ((1, 3), (1, 5)), ((6, 6), (5, 5))])
def test_taps_that_only_meet_padding_are_left_out(size, taps, monkeypatch):
    shapes = []
    own = ops.depthwise_conv

    def convolve(x, kernel, **options):
        shapes.append(tuple(kernel.shape[:2]))
        return own(x, kernel, **options)

    monkeypatch.setattr(ops, "depthwise_conv", convolve)
    layer = DepthwiseFilter(5)
    layer(np.zeros((1, *size, 3), np.float32))
    assert shapes == [taps]
