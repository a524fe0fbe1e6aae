"""TokenAttention against Keras' own MultiHeadAttention and the paper's equation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgevit.layers.attention import TokenAttention


def filled(layer: layers.Layer, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 0.5, weight.shape) for weight in layer.get_weights()]
    layer.set_weights(weights)
    return weights


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("heads", "width"), [(1, 12), (3, 4), (4, 5)])
@pytest.mark.parametrize("queries", [7, 1])
def test_result_and_attention_equal_keras_own_layer(heads, width, queries):
    tokens = draw(2, 7, 12)
    asking = tokens[:, :queries]
    own = TokenAttention(heads, width)
    stock = layers.MultiHeadAttention(heads, width, dropout=0.1)  # dropout: the explicit graph
    own.build(asking.shape, tokens.shape)
    stock.build(asking.shape, tokens.shape)
    weights = filled(stock)
    assert [weight.shape for weight in own.get_weights()] == [weight.shape for weight in weights]
    own.set_weights(weights)
    expected = stock(asking, tokens, return_attention_scores=True, training=False)
    for result, other in zip(own(asking, tokens), expected, strict=True):
        other = ops.convert_to_numpy(other)
        assert tuple(result.shape) == other.shape
        limit = 2e-6 * np.abs(other).max()
        np.testing.assert_allclose(ops.convert_to_numpy(result), other, rtol=0, atol=limit)


def test_queries_alone_attend_over_themselves():
    tokens = draw(2, 5, 6)
    layer = TokenAttention(2, 3)
    alone = layer(tokens)
    filled(layer)
    alone, both = layer(tokens), layer(tokens, tokens)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(x[0]) for x in (alone, both)))
    attention = ops.convert_to_numpy(alone[1])
    assert attention.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-6)
    assert (attention >= 0).all()


def test_token_that_all_queries_ask_for_gets_all_attention():
    layer = TokenAttention(1, 2)
    layer.build((None, 4, 2))
    eye, none = np.eye(2).reshape(2, 1, 2), np.zeros((1, 2))
    layer.set_weights([eye, none, eye, none, eye, none, eye.reshape(1, 2, 2), np.zeros(2)])
    tokens = np.array([[[50, 0], [0, 1], [1, 0], [0, -50]]], np.float32)
    result, attention = layer(tokens)
    np.testing.assert_allclose(ops.convert_to_numpy(attention)[0, 0, 2], [1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(result)[0, 2], [50, 0], atol=1e-4)


def test_dropout_falls_on_the_sum_in_training_but_not_on_the_attention_that_is_returned():
    tokens = draw(2, 6, 8)
    layer = TokenAttention(2, 4, dropout=0.5)
    layer(tokens)
    filled(layer)
    still, trained = layer(tokens, training=False), layer(tokens, training=True)
    assert not np.allclose(ops.convert_to_numpy(still[0]), ops.convert_to_numpy(trained[0]))
    np.testing.assert_array_equal(*(ops.convert_to_numpy(x[1]) for x in (still, trained)))
    again = layer(tokens, training=False)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(x[0]) for x in (still, again)))


def test_symbolic_shapes_are_those_of_the_arrays():
    queries, tokens = keras.Input((3, 8)), keras.Input((5, 6))
    result, attention = TokenAttention(2, 7)(queries, tokens)
    assert result.shape == (None, 3, 8)
    assert attention.shape == (None, 2, 3, 5)


def test_layer_survives_its_own_config():
    layer = TokenAttention(3, 5, 0.25, name="heads")
    assert TokenAttention.from_config(layer.get_config()).get_config() == layer.get_config()
    assert (layer.num_heads, layer.head_dim, layer.dropout) == (3, 5, 0.25)


@pytest.mark.parametrize(("heads", "width"), [(0, 4), (2, 0), (-1, 1)])
def test_heads_without_width_are_refused(heads, width):
    with pytest.raises(ValueError, match=f"Received: num_heads={heads}, head_dim={width}"):
        TokenAttention(heads, width)
