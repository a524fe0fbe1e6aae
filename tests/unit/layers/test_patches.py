"""Patches against extract_patches and Dense; the class token and positions against sums."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgevit.layers.patches import ClassToken, PatchProjection, PositionEmbedding


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "side", "tokens"),
    [((12, 12), 4, 9), ((12, 18), 6, 6), ((13, 11), 5, 4), ((3, 3), 1, 9)],
)
def test_projection_equals_extracted_patches_and_a_dense_layer(size, side, tokens):
    images = draw(2, *size, 3)
    kernel, bias = draw(side * side * 3, 7), draw(7)
    layer = PatchProjection(side, 7)
    dense = layers.Dense(7)
    patches = ops.image.extract_patches(images, side, data_format="channels_last")  # B h w ppC
    patches = ops.reshape(patches, (2, tokens, side * side * 3))
    dense.build(patches.shape)
    layer.build(images.shape)
    assert [w.shape for w in layer.get_weights()] == [w.shape for w in dense.get_weights()]
    layer.set_weights([kernel, bias])
    dense.set_weights([kernel, bias])
    expected = ops.convert_to_numpy(dense(patches))
    result = ops.convert_to_numpy(layer(images))
    assert result.shape == (2, tokens, 7)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_projection_knows_its_shape_before_it_runs():
    assert PatchProjection(5, 7)(keras.Input((13, 11, 3))).shape == (None, 4, 7)


def test_class_token_stands_in_front_of_every_image():
    layer = ClassToken()
    tokens = draw(3, 4, 5)
    layer(tokens)
    token = draw(1, 1, 5)
    layer.set_weights([token])
    result = ops.convert_to_numpy(layer(tokens))
    np.testing.assert_array_equal(result[:, 0], np.repeat(token[0], 3, axis=0))
    np.testing.assert_array_equal(result[:, 1:], tokens)
    assert layer(keras.Input((4, 5))).shape == (None, 5, 5)


def test_positions_are_added_to_every_image():
    layer = PositionEmbedding()
    tokens = draw(3, 4, 5)
    layer(tokens)
    positions = draw(4, 5)
    layer.set_weights([positions])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(tokens)), tokens + positions, atol=1e-6)
    assert layer(keras.Input((4, 5))).shape == (None, 4, 5)


def test_layers_survive_their_own_configs():
    for layer in (PatchProjection(3, 8, name="p"), ClassToken(name="c"), PositionEmbedding()):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(("side", "dim"), [(0, 4), (4, 0)])
def test_empty_patches_and_tokens_are_refused(side, dim):
    with pytest.raises(ValueError, match=f"Received: patch_size={side}, dim={dim}"):
        PatchProjection(side, dim)
