"""Transpositions and slices over fewer axes move the same values."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.tflite.writer.quantize.merge_axes import merge_order, merge_whole


@pytest.mark.parametrize(
    ("shape", "order", "axes"),
    [
        ((1, 4, 6, 2, 2, 3), (0, 1, 3, 2, 4, 5), 4),  # depth to space
        ((2, 3, 4, 5, 6, 7), (0, 1, 4, 5, 2, 3), 3),
        ((1, 2, 1, 3, 1, 4), (5, 4, 3, 2, 1, 0), 3),
        ((2, 1, 3, 4), (0, 2, 1, 3), 1),  # an axis of one element may stand anywhere
        ((2, 3, 4, 5, 6, 7), (5, 4, 3, 2, 1, 0), 6),
        ((1, 1, 1), (2, 0, 1), 1),
    ],
)
def test_a_transposition_keeps_axes_together_that_stay_together(shape, order, axes):
    values = np.arange(np.prod(shape)).reshape(shape)
    sizes, turned = merge_order(shape, order)
    assert len(sizes) == len(turned) == axes
    found = values.reshape(sizes).transpose(turned)
    np.testing.assert_array_equal(found.ravel(), values.transpose(order).ravel())


@pytest.mark.parametrize(
    ("cuts", "axes"),
    [
        ((slice(None), slice(3, 4), slice(None), slice(None), slice(None)), 3),
        ((slice(0, 1), slice(None), slice(None), slice(1, 4, 2), slice(None)), 4),
        ((slice(None),) * 5, 1),
        ((slice(1, 2), slice(2, 6, 3), slice(0, 2), slice(1, 3), slice(2, 3)), 5),
    ],
)
def test_a_slice_takes_axes_whole_as_one(cuts, axes):
    values = np.arange(2 * 6 * 4 * 5 * 3).reshape(2, 6, 4, 5, 3)
    ranges = [range(*cut.indices(size)) for cut, size in zip(cuts, values.shape, strict=True)]
    sizes, merged = merge_whole(values.shape, ranges)
    assert len(sizes) == len(merged) == axes
    found = values.reshape(sizes)[tuple(slice(r.start, r.stop, r.step) for r in merged)]
    np.testing.assert_array_equal(found.ravel(), values[cuts].ravel())
