"""WindowAttention against equation 4 of the Swin paper, window by window and head by head."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.layers.window_attention import WindowAttention, relative_positions
from reference.layers import attend_in_windows

BATCH, ROWS, COLUMNS, CHANNELS, WINDOW, HEADS = 2, 6, 4, 12, 2, 3
TOKENS, DEPTH = WINDOW**2, CHANNELS // HEADS


def make_layer(**options) -> tuple[WindowAttention, list[np.ndarray]]:
    layer = WindowAttention(WINDOW, HEADS, **options)
    shape = (None, ROWS, COLUMNS, CHANNELS)
    layer.build(shape, (None, WINDOW, WINDOW, CHANNELS) if layer.global_query else None)
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=w.shape).astype(np.float32) / 2 for w in layer.get_weights()]
    layer.set_weights(weights)
    return layer, weights


def draw(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shared", [False, True], ids=["bias a head", "shared bias"])
@pytest.mark.parametrize("given", [False, True], ids=["local", "global"])
def test_both_outputs_equal_attention_computed_window_by_window(given, shared):
    layer, weights = make_layer(global_query=given, shared_bias=shared)
    images = draw(BATCH, ROWS, COLUMNS, CHANNELS)
    query = draw(BATCH, WINDOW, WINDOW, CHANNELS, seed=2) if given else None
    result = layer(images, query) if given else layer(images)
    weights = [weight.astype(np.float64) for weight in weights]
    expected = attend_in_windows(images, query, weights, HEADS, WINDOW, shared)
    for ours, reference in zip(result, expected, strict=True):
        ours = keras.ops.convert_to_numpy(ours)
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-5 * np.abs(reference).max())


def test_each_query_shares_out_an_attention_of_one():
    layer, _ = make_layer()
    _, weights = layer(draw(BATCH, ROWS, COLUMNS, CHANNELS))
    sums = keras.ops.convert_to_numpy(weights).sum(axis=-1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_dropout_acts_in_training_only_and_not_on_the_weights_that_are_returned():
    layer, _ = make_layer(dropout=0.5)
    images = draw(BATCH, ROWS, COLUMNS, CHANNELS)
    plain, weights = layer(images, training=False)
    dropped, same = layer(images, training=True)
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (weights, same)))
    difference = keras.ops.convert_to_numpy(dropped) - keras.ops.convert_to_numpy(plain)
    assert np.abs(difference).max() > 0.1


@pytest.fixture
def half_precision():
    """New layers compute in bfloat16 and keep their weights in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("given", [False, True], ids=["local", "global"])
def test_layer_runs_in_half_precision(half_precision, given):
    layer, _ = make_layer(global_query=given)
    images, query = draw(1, ROWS, COLUMNS, CHANNELS), draw(1, WINDOW, WINDOW, CHANNELS)
    result = layer(images, query) if given else layer(images)
    assert [keras.backend.standardize_dtype(value.dtype) for value in result] == ["bfloat16"] * 2


@pytest.mark.parametrize("window", [1, 2, 3])
def test_relative_positions_are_numbered_from_the_upper_left_of_the_table(window):
    positions, side = relative_positions(window), 2 * window - 1
    tokens = window**2
    assert positions.shape == (tokens, tokens)
    assert positions[0, 0] == (side**2 - 1) // 2  # the same token: the table's middle
    assert positions[0, tokens - 1] == 0
    assert positions[tokens - 1, 0] == side**2 - 1
    np.testing.assert_array_equal(positions + positions.T, side**2 - 1)


@pytest.mark.parametrize(("given", "parts"), [(False, 3), (True, 2)])
def test_weights_are_the_table_then_the_projections(given, parts):
    layer, _ = make_layer(global_query=given)
    found = [(weight.path.split("/", 1)[1], tuple(weight.shape)) for weight in layer.weights]
    assert found == [
        ("bias_table", (9, HEADS)),
        ("qkv/kernel", (CHANNELS, parts * CHANNELS)),
        ("qkv/bias", (parts * CHANNELS,)),
        ("project/kernel", (CHANNELS, CHANNELS)),
        ("project/bias", (CHANNELS,)),
    ]


def test_layer_survives_its_own_config_and_names_its_output_shapes():
    layer = WindowAttention(4, 2, True, True, 0.25, name="attend")
    copy = WindowAttention.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.window, copy.num_heads, copy.dropout) == (4, 2, 0.25)
    assert copy.global_query
    assert copy.shared_bias
    shapes = copy.compute_output_shape((None, 8, 12, 6), (None, 4, 4, 6))
    assert shapes == ((None, 8, 12, 6), (None, 2, 16, 16))
    assert copy.compute_output_shape((3, 8, 12, 6))[1] == (18, 2, 16, 16)


@pytest.mark.parametrize("shape", [(None, 4, 4, 10), (None, 5, 4, 12), (None, 4, 5, 12)], ids=str)
def test_sizes_that_do_not_divide_are_refused(shape):
    with pytest.raises(ValueError, match=f"Received: rows={shape[1]}, columns={shape[2]}"):
        WindowAttention(2, 3).build(shape)
