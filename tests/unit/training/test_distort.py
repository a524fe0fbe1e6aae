"""TrivialAugment: what each operation does to a picture, and how often it is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.training.augment import AugmentedBatches
from edgevit.training.distort import (
    OPERATIONS,
    STRENGTHS,
    UNCOVERED,
    distort,
    draw_distortions,
)
from edgevit.training.recipe import Recipe

NAMES = list(OPERATIONS)
PLAIN = Recipe(
    "plain", batch_size=8, crop_padding=0, flip=False, jpeg_probability=0.0, label_smoothing=0.0
)


def after(image: np.ndarray, name: str, strength: float) -> np.ndarray:
    places = np.array([NAMES.index(name)])
    return distort(image[None], places, np.array([strength]))[0]


@pytest.fixture
def picture():
    """Smooth but for a spot, of uneven brightness and colour. uint8 32 32 3."""
    down, across = np.mgrid[0:32, 0:32]
    image = np.stack([60 + 4 * down, 50 + 3 * across, 200 - 2 * (down + across)], -1)
    image[14:17, 20:23] = 30, 220, 60
    return image.astype(np.uint8)


# --- operations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("identity", "auto-contrast", "equalize")]
)
def test_no_strength_changes_nothing_and_full_strength_does(name, picture):
    np.testing.assert_array_equal(after(picture, name, 0.0), picture)
    assert np.any(after(picture, name, 1.0) != picture)
    assert after(picture, name, -1.0).shape == picture.shape


@pytest.mark.parametrize("name", ["posterize", "solarize"])
def test_operations_without_a_direction_take_no_notice_of_the_sign(name, picture):
    np.testing.assert_array_equal(after(picture, name, -0.7), after(picture, name, 0.7))


@pytest.mark.parametrize("name", ["rotate", "shear-x", "shear-y", "translate-x", "translate-y"])
def test_signs_move_in_opposite_directions_and_uncovered_pixels_are_grey(name, picture):
    one, other = after(picture, name, 0.9), after(picture, name, -0.9)
    assert not np.array_equal(one, other)
    for moved in (one, other):
        uncovered = np.all(moved == UNCOVERED, axis=-1)
        assert 0.02 < uncovered.mean() < 0.4


def test_translations_are_of_ten_pixels_of_32_at_most(picture):
    np.testing.assert_array_equal(after(picture, "translate-x", 1.0)[:, :22], picture[:, 10:])
    np.testing.assert_array_equal(after(picture, "translate-y", -1.0)[10:], picture[:22])


def test_shears_and_turns_leave_the_middle_in_place():
    image = np.zeros((33, 33, 3), np.uint8)
    image[16, 16] = 255
    for name in ("rotate", "shear-x", "shear-y"):
        for strength in (-1.0, 1.0):
            np.testing.assert_array_equal(after(image, name, strength)[16, 16], 255)


def test_posterize_keeps_four_bits_at_least(picture):
    np.testing.assert_array_equal(after(picture, "posterize", 1.0), picture & 0xF0)


def test_solarize_inverts_what_is_bright(picture):
    np.testing.assert_array_equal(after(picture, "solarize", 1.0), 255 - picture)
    half = after(picture, "solarize", 0.5)
    np.testing.assert_array_equal(half, np.where(picture < 128, picture, 255 - picture))


def test_brightness_goes_up_and_down_by_nine_tenths_at_most(picture):
    dark = after(picture, "brightness", -1.0)
    assert np.abs(dark - 0.1 * picture.astype(float)).max() <= 1
    assert after(picture, "brightness", 1.0).mean() > 1.5 * picture.mean()


def test_colour_goes_down_to_nearly_grey(picture):
    grey = after(picture, "color", -1.0).astype(float)
    assert np.ptp(grey, axis=-1).mean() < 0.15 * np.ptp(picture.astype(float), axis=-1).mean()


def test_auto_contrast_and_equalize_use_the_whole_range(picture):
    dull = (picture // 4 + 90).astype(np.uint8)
    for name in ("auto-contrast", "equalize"):
        result = after(dull, name, 0.0)
        assert result.min() <= 5
        assert result.max() >= 250


# --- drawing --------------------------------------------------------------------------------------


def test_operations_and_strengths_are_drawn_evenly():
    count = 14 * 3000
    places, strengths = draw_distortions(count, 1.0, np.random.default_rng(0))
    counts = np.bincount(places, minlength=len(NAMES))
    assert len(counts) == len(NAMES) == 14
    assert np.abs(counts - 3000).max() < 5 * np.sqrt(3000)
    levels = np.round(np.abs(strengths) * (STRENGTHS - 1)).astype(int)
    assert set(levels) == set(range(STRENGTHS))
    assert abs((strengths > 0).mean() - 15 / 31) < 0.02
    assert abs((strengths < 0).mean() - 15 / 31) < 0.02


def test_the_share_of_distorted_images_is_the_probability():
    places, _ = draw_distortions(20000, 0.3, np.random.default_rng(1))
    assert abs((places > 0).mean() - 0.3 * 13 / 14) < 0.015


def test_without_a_probability_nothing_is_drawn():
    rng, untouched = np.random.default_rng(2), np.random.default_rng(2)
    places, _ = draw_distortions(50, 0.0, rng)
    assert not places.any()
    assert rng.random() == untouched.random()


# --- in batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [5, 40])
def test_batches_are_distorted_as_often_as_the_recipe_says(images, drawn_dataset):
    dataset = drawn_dataset(images, 12)
    before, originals = dataset.digest, {image.tobytes() for image in dataset.images}

    def distorted(share: float) -> int:
        batches = AugmentedBatches(dataset, replace(PLAIN, trivial_augment=share), seed=0)
        found = 0
        for epoch in range(4):
            batches.start_epoch(epoch)
            pictures = np.concatenate([batches[index][0] for index in range(len(batches))])
            found += sum(picture.tobytes() not in originals for picture in pictures)
        return found

    assert distorted(0.0) == 0
    assert 0.5 * 4 * images < distorted(1.0) <= 4 * images
    assert dataset.digest == before
