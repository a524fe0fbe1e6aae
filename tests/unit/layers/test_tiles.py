"""TileConv2D against Keras' convolution with the same kernel, at inference and in training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgevit.layers.tiles import TileConv2D


def pair(side: int, channels: int = 6, filters: int = 10, **options):
    """The layer and Keras' own with the same weights."""
    rng = np.random.default_rng(side)
    made = TileConv2D(filters, side, **options), layers.Conv2D(filters, side, side, **options)
    for layer in made:
        layer.build((None, 8, 12, channels))
    weights = [rng.normal(size=weight.shape).astype(np.float32) for weight in made[0].weights]
    for layer in made:
        layer.set_weights(weights)
    return made


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("size", [(8, 12), (9, 7)], ids=["divided", "with a rest"])
def test_result_is_that_of_a_convolution(side, training, size):
    tile, plain = pair(side)
    images = np.random.default_rng(9).normal(size=(3, *size, 6)).astype(np.float32)
    found = ops.convert_to_numpy(tile(images, training=training))
    wanted = ops.convert_to_numpy(plain(images))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("options", [{"use_bias": False}, {"activation": "relu"}], ids=str)
def test_options_of_a_convolution_hold_in_training(options):
    tile, plain = pair(2, **options)
    images = np.random.default_rng(9).normal(size=(3, 8, 12, 6)).astype(np.float32)
    found = ops.convert_to_numpy(tile(images, training=True))
    np.testing.assert_allclose(found, ops.convert_to_numpy(plain(images)), rtol=0, atol=2e-5)


@pytest.mark.parametrize("side", [1, 2])
def test_training_takes_the_same_steps_as_with_a_convolution(side):
    images = np.random.default_rng(1).normal(size=(4, 8, 12, 6)).astype(np.float32)
    found = []
    for layer in pair(side):
        model = keras.Sequential([keras.Input((8, 12, 6)), layer, layers.Flatten()])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(images, np.zeros((4, *model.output_shape[1:]), np.float32))
        found.append(layer.get_weights())
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


def test_a_product_is_computed_while_training_alone(monkeypatch):
    tile, _ = pair(2)
    calls = []
    own = layers.Conv2D.call
    monkeypatch.setattr(layers.Conv2D, "call", lambda self, x: calls.append(1) or own(self, x))
    images = np.zeros((1, 8, 12, 6), np.float32)
    tile(images, training=True)
    assert not calls
    tile(images, training=False)
    assert calls


def test_layer_survives_its_own_config():
    tile = TileConv2D(5, 2, name="merge")
    assert TileConv2D.from_config(tile.get_config()).get_config() == tile.get_config()
    assert tile(keras.Input((4, 8, 3))).shape == (None, 2, 4, 5)
