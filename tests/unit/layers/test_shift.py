"""PartialShift against equation 1 of the paper; BorderErase against the Keras tutorial's code."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.layers.shift import BorderErase, PartialShift
from reference.layers import crop_and_pad, partial_shift


def random_tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def run(layer: keras.layers.Layer, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(images))


def test_paper_shift_moves_each_group_by_one_pixel():
    images = np.zeros((1, 5, 5, 6), np.float32)
    images[0, 2, 2] = 1  # one bright pixel in every channel
    moved = run(PartialShift(num_div=6), images)
    places = [tuple(np.argwhere(moved[0, :, :, channel])[0]) for channel in range(6)]
    assert places == [(2, 1), (2, 3), (1, 2), (3, 2), (2, 2), (2, 2)]
    assert moved.sum() == 6


@pytest.mark.parametrize("pixels", [1, 2, 3])
@pytest.mark.parametrize("num_div", [4, 5, 12])
@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (4, 7), (9, 3)])
def test_paper_shift_equals_a_pixel_by_pixel_shift(num_div, pixels, rows, columns):
    images = random_tokens(2, rows, columns, 29)  # 29 channels: no num_div divides them
    expected = partial_shift(images, num_div, pixels)
    assert not np.array_equal(expected, images)
    np.testing.assert_array_equal(run(PartialShift(num_div, pixels), images), expected)


def test_paper_shift_moves_a_share_of_four_over_num_div_channels():
    images = random_tokens(1, 4, 4, 48)
    moved = run(PartialShift(num_div=12), images)
    changed = [not np.array_equal(moved[..., c], images[..., c]) for c in range(48)]
    assert sum(changed) == 48 * 4 / 12
    assert all(changed[:16])


def test_paper_shift_by_more_than_the_image_leaves_only_zeros():
    images = random_tokens(1, 2, 3, 8)
    moved = run(PartialShift(num_div=4, pixels=5), images)
    np.testing.assert_array_equal(moved, np.zeros_like(images))


def test_paper_shift_has_no_weights():
    layer = PartialShift()
    layer.build((None, 4, 4, 24))
    assert layer.weights == []


@pytest.mark.parametrize("pixels", [1, 2])
@pytest.mark.parametrize(("num_div", "rows", "columns"), [(4, 5, 5), (6, 3, 8), (12, 7, 4)])
def test_tutorial_shift_equals_crop_and_pad_at_the_same_offset(num_div, pixels, rows, columns):
    images = random_tokens(2, rows, columns, 4 * num_div + 12)
    expected = crop_and_pad(images, num_div, pixels)
    np.testing.assert_array_equal(run(BorderErase(num_div, pixels), images), expected)


def test_tutorial_shift_equals_a_mask_that_zeroes_one_border_of_each_group():
    images = random_tokens(2, 5, 6, 20)
    mask = np.ones((5, 6, 20), np.float32)
    mask[:, -1, 0:3] = 0  # group 0 loses the last column
    mask[:, 0, 3:6] = 0  # group 1 the first column
    mask[-1, :, 6:9] = 0  # group 2 the last row
    mask[0, :, 9:12] = 0  # group 3 the first row
    np.testing.assert_array_equal(run(BorderErase(num_div=3), images), images * mask)


@pytest.mark.parametrize("channels", [48, 96, 192])
def test_tutorial_shift_touches_the_same_48_channels_at_every_width(channels):
    images = random_tokens(1, 3, 3, channels)
    erased = run(BorderErase(num_div=12), images)
    changed = [not np.array_equal(erased[..., c], images[..., c]) for c in range(channels)]
    assert changed == [c < 48 for c in range(channels)]


def test_tutorial_shift_wider_than_the_image_leaves_only_zeros():
    images = random_tokens(1, 2, 3, 8)
    np.testing.assert_array_equal(run(BorderErase(2, pixels=4), images), np.zeros_like(images))


@pytest.mark.parametrize("layer", [PartialShift(6, 2), BorderErase(5, 3)])
def test_shift_layers_are_rebuilt_from_their_config(layer):
    images = random_tokens(1, 6, 5, 24)
    copy = type(layer).from_config(layer.get_config())
    assert (copy.num_div, copy.pixels) == (layer.num_div, layer.pixels)
    np.testing.assert_array_equal(run(copy, images), run(layer, images))


@pytest.mark.parametrize("layer", [PartialShift(4, 1), BorderErase(4, 1)])
def test_shift_layers_accept_a_batch_of_unknown_size(layer):
    inputs = keras.Input((5, 4, 20))
    outputs = layer(inputs)
    assert outputs.shape == (None, 5, 4, 20)
    images = random_tokens(3, 5, 4, 20)
    model = keras.Model(inputs, outputs)
    np.testing.assert_array_equal(run(model, images), run(layer, images))


@pytest.mark.parametrize("sizes", [{"num_div": 3}, {"pixels": 0}, {"num_div": 0}, {"pixels": -1}])
def test_paper_shift_refuses_sizes_without_four_groups_or_distance(sizes):
    with pytest.raises(ValueError, match="Received: num_div="):
        PartialShift(**sizes)


@pytest.mark.parametrize("sizes", [{"num_div": 0}, {"pixels": 0}])
def test_tutorial_shift_refuses_empty_groups_and_no_distance(sizes):
    with pytest.raises(ValueError, match="Received: num_div="):
        BorderErase(**sizes)


def test_paper_shift_refuses_fewer_channels_than_groups():
    with pytest.raises(ValueError, match="Received: channels=11"):
        PartialShift(num_div=12).build((None, 4, 4, 11))


def test_tutorial_shift_refuses_channels_that_cannot_hold_four_groups():
    with pytest.raises(ValueError, match="Received: channels=47"):
        BorderErase(num_div=12).build((None, 4, 4, 47))
