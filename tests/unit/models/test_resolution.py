"""Learned positions at another resolution: the same function of the place in the image."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.layers.window_attention import relative_positions
from edgevit.models.build import build
from edgevit.models.resolution import fit_positions, resize_bias_table, resize_embeddings

GCVIT = {"dim": 8, "depths": (2, 2), "num_heads": (2, 2), "num_classes": 3}
VIT = {"patch_size": 4, "dim": 16, "depth": 1, "num_heads": 2, "head_dim": 8, "mlp_dim": 16}


def centres(side: int) -> np.ndarray:
    """Where the tokens of a row stand, as a share of the image."""
    return (np.arange(side) + 0.5) / side


def plane(side: int) -> np.ndarray:
    """Two channels that rise with the row and fall with the column. N 2."""
    row, column = np.meshgrid(centres(side), centres(side), indexing="ij")
    return np.stack([3 * row + column, 1 - 2 * column], -1).reshape(-1, 2).astype(np.float32)


@pytest.mark.parametrize(("before", "after"), [(8, 4), (9, 3), (12, 8), (5, 5)])
def test_a_smaller_grid_reads_the_same_places_of_the_image(before, after):
    found = resize_embeddings(plane(before), after**2)
    np.testing.assert_allclose(found, plane(after), atol=1e-6)
    assert found.dtype == np.float32


def test_a_larger_grid_lies_between_and_ends_where_nothing_was_learnt():
    found = resize_embeddings(plane(4), 64).reshape(8, 8, 2)
    nearest = np.clip(centres(8), centres(4)[0], centres(4)[-1])
    row, column = np.meshgrid(nearest, nearest, indexing="ij")
    np.testing.assert_allclose(found, np.stack([3 * row + column, 1 - 2 * column], -1), atol=1e-6)


def test_a_class_token_keeps_its_own():
    token = np.float32([[7, 8]])
    found = resize_embeddings(np.concatenate([token, plane(8)]), 1 + 16)
    np.testing.assert_allclose(found, np.concatenate([token, plane(4)]), atol=1e-6)
    with pytest.raises(ConfigError, match="no square"):
        resize_embeddings(plane(8), 1 + 16)


def biases(window: int) -> np.ndarray:
    """What two heads add between tokens, by how far apart they are in the image. N N 2."""
    row, column = np.indices((window, window)).reshape(2, -1) / window
    down, right = row[:, None] - row, column[:, None] - column
    return np.stack([2 * down - right, 0.5 + right], -1)


def table_of(window: int) -> np.ndarray:
    """The bias table from which a window reads :func:`biases`. (2w-1)^2 2."""
    table = np.zeros(((2 * window - 1) ** 2, 2), np.float32)
    table[relative_positions(window).reshape(-1)] = biases(window).reshape(-1, 2)
    return table


@pytest.mark.parametrize(("before", "after"), [(8, 4), (14, 7), (6, 2), (7, 7)])
def test_tokens_as_far_apart_get_the_same_bias_in_smaller_windows(before, after):
    found = resize_bias_table(table_of(before), (2 * after - 1) ** 2)
    np.testing.assert_allclose(found[relative_positions(after)], biases(after), atol=1e-6)


def test_tokens_as_far_apart_get_the_same_bias_in_larger_windows_up_to_the_largest_offset():
    found = resize_bias_table(table_of(2), 13**2)[relative_positions(7)]  # N N 2
    row, column = np.indices((7, 7)).reshape(2, -1) / 7
    apart = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column))
    known = apart <= 0.5  # of the image, as the neighbours in a window of 2 are
    np.testing.assert_allclose(found[known], biases(7)[known], atol=1e-6)
    assert found.max() <= biases(2).max()
    assert 0 < known.mean() < 1


def fit(before, after):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=value.shape).astype(np.float32) for value in before.get_weights()]
    fitted = fit_positions(weights, before, after)
    assert [value.shape for value in fitted] == [tuple(new.shape) for new in after.weights]
    names = zip(before.weights, weights, fitted, strict=True)
    return {variable.name for variable, old, new in names if new is not old}


def test_gcvit_changes_its_tables_and_nothing_else():
    before = build("gcvit", image_size=32, window_sizes=(2, 4), **GCVIT)
    after = build("gcvit", image_size=64, window_sizes=(4, 8), **GCVIT)
    assert fit(before, after) == {"bias_table"}
    assert fit(before, before) == set()


def test_vit_with_a_class_token_changes_its_embeddings_and_nothing_else():
    before, after = (build("vit", image_size=size, pool="token", **VIT) for size in (16, 24))
    assert fit(before, after) == {"embeddings"}


def test_a_head_that_flattens_all_tokens_belongs_to_one_size():
    before, after = (build("vit", image_size=size, **VIT) for size in (16, 24))
    with pytest.raises(ConfigError, match="head1/kernel has the shape"):
        fit(before, after)


def test_what_is_no_position_is_refused():
    before = build("gcvit", image_size=32, window_sizes=(2, 4), **GCVIT)
    wider = build("gcvit", image_size=32, window_sizes=(2, 4), **{**GCVIT, "dim": 16})
    heads = build("gcvit", image_size=64, window_sizes=(4, 8), **{**GCVIT, "num_heads": (4, 2)})
    deeper = build("gcvit", image_size=32, window_sizes=(2, 4), **{**GCVIT, "depths": (2, 3)})
    for other, told in ((wider, "shape"), (heads, "bias_table"), (deeper, "weights before")):
        with pytest.raises(ConfigError, match=told):
            fit(before, other)


def test_a_bias_that_all_heads_share_belongs_to_one_window():
    sizes = {**GCVIT, "form": "tutorial"}
    before = build("gcvit", image_size=32, window_sizes=(2, 4), **sizes)
    after = build("gcvit", image_size=64, window_sizes=(4, 8), **sizes)
    with pytest.raises(ConfigError, match="bias_table"):
        fit(before, after)
