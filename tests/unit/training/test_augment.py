"""Augmentation: what each step may and may not do to pixels and targets."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgevit.data.datasets import ImageDataset
from edgevit.training.augment import AugmentedBatches, crop_and_flip, cutmix, reencode_jpeg
from edgevit.training.recipe import Recipe

FULL = Recipe("full", epochs=10, batch_size=8, cutmix_probability=0.5, jpeg_probability=0.5)
NONE = Recipe(
    "none", batch_size=8, crop_padding=0, flip=False, jpeg_probability=0.0, label_smoothing=0.0
)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- batches --------------------------------------------------------------------------------------


def test_batches_are_a_function_of_seed_epoch_and_index(drawn_dataset):
    dataset = drawn_dataset(40, 12)
    first, second = AugmentedBatches(dataset, FULL, seed=5), AugmentedBatches(dataset, FULL, seed=5)
    first.start_epoch(3)
    in_order = [first[index] for index in range(5)]
    for epoch in (0, 7, 3):  # another history: other epochs before, batches asked backwards
        second.start_epoch(epoch)
        backwards = [second[index] for index in (4, 3, 2, 1, 0)][::-1]
    for (images, targets), (images_again, targets_again) in zip(in_order, backwards, strict=True):
        np.testing.assert_array_equal(images_again, images)
        np.testing.assert_array_equal(targets_again, targets)


def test_batches_differ_between_seeds_epochs_and_indices(drawn_dataset):
    dataset = drawn_dataset(40, 12)
    seen = set()
    for seed in (0, 1):
        batches = AugmentedBatches(dataset, FULL, seed)
        for epoch in (0, 1):
            batches.start_epoch(epoch)
            seen |= {batches[index][0].tobytes() for index in range(5)}
    assert len(seen) == 20


def test_an_epoch_shows_every_image_once_with_its_own_label(drawn_dataset):
    dataset = drawn_dataset(24, 8)
    label_of = {i.tobytes(): n for i, n in zip(dataset.images, dataset.labels, strict=True)}
    batches = AugmentedBatches(dataset, NONE, seed=0)
    orders = []
    for epoch in range(2):
        batches.start_epoch(epoch)
        pairs = [batches[index] for index in range(len(batches))]
        images = np.concatenate([images for images, _ in pairs])
        targets = np.concatenate([targets for _, targets in pairs])
        assert {image.tobytes() for image in images} == set(label_of)
        for image, target in zip(images, targets, strict=True):
            np.testing.assert_array_equal(target, np.eye(3)[label_of[image.tobytes()]])
        orders.append(images)
    assert not np.array_equal(*orders)


def test_batches_leave_the_dataset_as_it_was(drawn_dataset):
    dataset = drawn_dataset(16, 8)
    before = dataset.digest
    batches = AugmentedBatches(dataset, replace(FULL, cutmix_probability=1.0), seed=0)
    for index in range(len(batches)):
        images, targets = batches[index]
        assert (images.dtype, targets.dtype) == (np.uint8, np.float32)
        assert (images.shape, targets.shape) == ((8, 8, 8, 3), (8, 3))
    assert dataset.digest == before


def test_the_last_images_that_fill_no_batch_are_left_out_and_few_images_make_one(drawn_dataset):
    assert len(AugmentedBatches(drawn_dataset(23, 8), NONE, seed=0)) == 2
    few = AugmentedBatches(drawn_dataset(5, 8), NONE, seed=0)
    assert len(few) == 1
    assert few[0][0].shape == (5, 8, 8, 3)


def test_label_smoothing_spreads_its_share_over_all_classes(drawn_dataset):
    dataset = drawn_dataset(16, 8, classes=4)
    batches = AugmentedBatches(dataset, replace(NONE, label_smoothing=0.2), seed=0)
    targets = batches[0][1]
    np.testing.assert_allclose(np.sort(targets, axis=1), [[0.05, 0.05, 0.05, 0.85]] * 8, rtol=1e-6)


def test_cutmix_ends_after_its_share_of_the_epochs(drawn_dataset):
    recipe = replace(NONE, epochs=10, cutmix_probability=1.0, mixing_until=0.6)
    batches = AugmentedBatches(drawn_dataset(64, 16), recipe, seed=0)
    mixed = []
    for epoch in range(10):
        batches.start_epoch(epoch)
        targets = np.concatenate([batches[index][1] for index in range(len(batches))])
        mixed.append(bool(np.any((targets > 0) & (targets < 1))))
    assert mixed == [True] * 6 + [False] * 4


def test_cutmix_mixes_its_share_of_the_batches(drawn_dataset):
    recipe = replace(NONE, batch_size=2, cutmix_probability=0.3, mixing_until=1.0)
    dataset = drawn_dataset(1200, 4, classes=1200)
    batches = AugmentedBatches(dataset, recipe, seed=0)
    originals = {image.tobytes() for image in dataset.images}
    changed = [
        any(image.tobytes() not in originals for image in batches[index][0]) for index in range(600)
    ]
    # Two images exchange places in half of the mixed batches, and a box of 4x4 is often empty.
    assert 0.02 * 600 < sum(changed) < 0.3 * 600


# --- crop and flip --------------------------------------------------------------------------------


def windows_of(image: np.ndarray, padding: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Every picture that a translation with a mirrored border may make."""
    rows, columns, _ = image.shape

    def mirror(index: int, length: int) -> int:  # ... 2 1 [0 1 2 ... n-1] n-2 n-3 ...
        return -index if index < 0 else 2 * (length - 1) - index if index >= length else index

    found = {}
    for down in range(-padding, padding + 1):
        for across in range(-padding, padding + 1):
            source_rows = [mirror(row + down, rows) for row in range(rows)]
            source_columns = [mirror(column + across, columns) for column in range(columns)]
            window = image[source_rows][:, source_columns]
            found[window.tobytes()] = (down, across, False)
            if flip:
                found[window[:, ::-1].tobytes()] = (down, across, True)
    return found


@pytest.mark.parametrize("flip", [True, False])
def test_a_crop_is_a_translation_with_a_mirrored_border(flip, drawn_images):
    images = drawn_images(30, (9, 7))
    before = images.copy()
    result = crop_and_flip(images, 2, flip, rng_of(0))
    np.testing.assert_array_equal(images, before)
    moves = [
        windows_of(image, 2, flip)[moved.tobytes()]  # KeyError: no such translation
        for image, moved in zip(images, result, strict=True)
    ]
    assert {mirrored for _, _, mirrored in moves} == {False, True} if flip else {False}
    assert len({(down, across) for down, across, _ in moves}) > 10


def test_crops_reach_every_offset_and_flip_half_of_the_images(drawn_images):
    image = drawn_images(1, 6)[0]
    count = 2000
    result = crop_and_flip(np.stack([image] * count), 1, True, rng_of(1))
    known = windows_of(image, 1, True)
    moves = [known[moved.tobytes()] for moved in result]
    places = [(down, across) for down, across, _ in moves]
    assert all(abs(places.count(place) - count / 9) < 5 * np.sqrt(count / 9) for place in places)
    assert len(set(places)) == 9
    assert abs(sum(mirrored for *_, mirrored in moves) - count / 2) < 5 * np.sqrt(count / 4)


def test_no_padding_and_no_flip_change_nothing(drawn_images):
    images = drawn_images(10, 8)
    np.testing.assert_array_equal(crop_and_flip(images, 0, False, rng_of(0)), images)


# --- jpeg -----------------------------------------------------------------------------------------


def test_jpeg_changes_only_the_chosen_share():
    images = rng_of(0).integers(0, 256, (600, 16, 16, 3), dtype=np.uint8)
    before = images.copy()
    result = reencode_jpeg(images, 0.3, (50, 90), rng_of(1))
    np.testing.assert_array_equal(images, before)
    changed = np.any(result != images, axis=(1, 2, 3))
    assert abs(changed.sum() - 180) < 5 * np.sqrt(600 * 0.3 * 0.7)
    again = reencode_jpeg(images, 0.3, (50, 90), rng_of(1))
    np.testing.assert_array_equal(again, result)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0), (1.0, 20)])
def test_jpeg_probability_zero_and_one_mean_none_and_all(probability, share):
    images = rng_of(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    result = reencode_jpeg(images, probability, (60, 60), rng_of(0))
    assert np.any(result != images, axis=(1, 2, 3)).sum() == share


def test_jpeg_uses_every_quality_between_its_bounds_and_no_other():
    image = rng_of(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def at_quality(level: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=level)
        return np.asarray(Image.open(stream)).tobytes()

    qualities = {at_quality(level): level for level in range(40, 101)}
    assert len(qualities) == 61
    result = reencode_jpeg(np.stack([image] * 300), 1.0, (70, 75), rng_of(2))
    assert {qualities[picture.tobytes()] for picture in result} == {70, 71, 72, 73, 74, 75}


# --- cutmix ---------------------------------------------------------------------------------------


def numbered_batch(count: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Image n is filled with n and belongs to class n alone."""
    images = np.empty((count, rows, columns, 3), np.uint8)
    images[:] = np.arange(count)[:, None, None, None]
    return images, np.eye(count, dtype=np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (12, 20), (5, 9)])
def test_cutmix_tells_the_share_of_pixels_of_each_image(rows, columns):
    images, targets = numbered_batch(6, rows, columns)
    shares = []
    for seed in range(60):
        mixed, partner, replaced = cutmix(images, rng_of(seed))
        mixed_targets = targets * (1 - replaced) + targets[partner] * replaced
        expected = np.array([[np.mean(mixed[n] == m) for m in range(6)] for n in range(6)])
        np.testing.assert_allclose(mixed_targets, expected, atol=1e-6)
        np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, atol=1e-6)
        shares.append(1 - np.diag(expected).min())
    assert min(shares) < 0.1
    assert max(shares) > 0.5
    assert len(set(np.round(shares, 3))) > 10


def test_cutmix_pastes_one_rectangle_at_its_own_place():
    images = rng_of(0).integers(0, 256, (5, 14, 10, 3), dtype=np.uint8)
    originals = images.copy()
    rectangles = set()
    for seed in range(40):
        mixed, _, _ = cutmix(images, rng_of(seed))
        changed = np.any(mixed != images, axis=-1)  # B H W
        if not changed.any():
            continue
        rows, columns = np.any(changed, axis=(0, 2)), np.any(changed, axis=(0, 1))
        top, bottom = np.flatnonzero(rows)[[0, -1]]
        left, right = np.flatnonzero(columns)[[0, -1]]
        box = (slice(top, bottom + 1), slice(left, right + 1))
        rectangles.add((top, bottom, left, right))
        for number in range(5):
            pasted = mixed[number][box]
            assert any(np.array_equal(pasted, image[box]) for image in images)
            outside = changed[number].copy()
            outside[box] = False
            assert not outside.any()
    assert len(rectangles) > 20
    np.testing.assert_array_equal(images, originals)


def test_batches_mix_smoothed_targets_by_area():
    images, _ = numbered_batch(4, 8, 8)
    dataset = ImageDataset(images, np.arange(4), tuple("abcd"), "train", "numbered")
    recipe = replace(NONE, batch_size=4, cutmix_probability=1.0, label_smoothing=0.4)
    batches = AugmentedBatches(dataset, recipe, seed=0)
    smoothed = 0.6 * np.eye(4) + 0.1
    boxes = set()
    for epoch in range(20):
        batches.start_epoch(epoch)
        mixed, targets = batches[0]
        shares = np.array([[np.mean(image == m) for m in range(4)] for image in mixed])
        assert targets.dtype == np.float32
        np.testing.assert_allclose(targets, shares @ smoothed, atol=1e-6)
        boxes.add(float(shares.max(axis=1).min()))
    assert len(boxes) > 5
