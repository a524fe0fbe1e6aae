"""window_partition and window_reverse against windows that are cut out one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.layers.windows import window_partition, window_reverse

SHAPES = [
    ((2, 6, 9, 4), 3),  # 2x3 windows
    ((3, 8, 4, 1), 4),  # one window across
    ((2, 4, 8, 3), 4),  # one window down
    ((1, 5, 5, 2), 5),  # one window
    ((2, 3, 2, 2), 1),  # one token a window
]


def cut_out(images: np.ndarray, window: int) -> np.ndarray:
    """Window after window, image after image, row by row: M N C."""
    batch, rows, columns, channels = images.shape
    windows = [
        images[number, top : top + window, left : left + window].reshape(-1, channels)
        for number in range(batch)
        for top in range(0, rows, window)
        for left in range(0, columns, window)
    ]
    return np.stack(windows)


@pytest.mark.parametrize(("shape", "window"), SHAPES, ids=str)
def test_windows_are_those_cut_out_one_by_one(shape, window):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = keras.ops.convert_to_numpy(window_partition(images, window))
    np.testing.assert_array_equal(result, cut_out(images, window))


@pytest.mark.parametrize(("shape", "window"), SHAPES, ids=str)
def test_reverse_puts_the_windows_where_they_were(shape, window):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = window_reverse(cut_out(images, window), window, *shape[1:3])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(result), images)


@pytest.mark.parametrize(("rows", "columns", "window"), [(6, 8, 4), (8, 6, 4), (4, 4, 0)])
def test_a_window_that_does_not_divide_the_map_is_refused(rows, columns, window):
    expected = f"Received: rows={rows}, columns={columns}, window={window}"
    with pytest.raises(ValueError, match=expected):
        window_partition(np.zeros((1, rows, columns, 2), np.float32), window)
    with pytest.raises(ValueError, match=expected):
        window_reverse(np.zeros((3, 16, 2), np.float32), window, rows, columns)


def test_batch_may_stay_free():
    images = keras.KerasTensor((None, 6, 9, 4))
    windows = window_partition(images, 3)
    assert windows.shape == (None, 9, 4)
    assert window_reverse(windows, 3, 6, 9).shape == (None, 6, 9, 4)
