"""What is done to images before accuracy is measured again."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from edgevit.data.degradations import DEGRADATIONS, as_jpeg, shift


def test_the_table_has_the_compressions_and_the_framing_that_cards_state():
    names = [way.name for way in DEGRADATIONS]
    assert names == ["jpeg-95", "jpeg-75", "jpeg-50", "shift-2"]


def test_every_row_does_what_its_name_says_again_and_again_to_a_copy(drawn_images):
    images = drawn_images(12, 16)
    before = images.copy()
    expected = [as_jpeg(images, 95), as_jpeg(images, 75), as_jpeg(images, 50), shift(images, 2)]
    for way, wanted in zip(DEGRADATIONS, expected, strict=True):
        np.testing.assert_array_equal(way.apply(images), wanted)
        np.testing.assert_array_equal(way.apply(images), wanted)
        assert wanted.dtype == np.uint8
        assert np.any(wanted != before)
        np.testing.assert_array_equal(images, before)


def test_jpeg_is_that_of_a_file_of_this_quality(drawn_images):
    images = drawn_images(3, 16)
    for image, found in zip(images, as_jpeg(images, 50), strict=True):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=50)
        np.testing.assert_array_equal(found, np.asarray(Image.open(stream)))


def test_channels_that_are_no_colours_are_compressed_one_by_one(drawn_images):
    images = drawn_images(2, 16)
    grey = [as_jpeg(images[..., channel : channel + 1], 50) for channel in range(3)]
    four = as_jpeg(np.concatenate([images, images[..., :1]], axis=-1), 50)
    np.testing.assert_array_equal(four, np.concatenate([*grey, grey[0]], axis=-1))
    stream = io.BytesIO()
    Image.fromarray(images[1, ..., 0]).save(stream, "JPEG", quality=50)
    np.testing.assert_array_equal(grey[0][1, ..., 0], np.asarray(Image.open(stream)))


def test_lower_quality_is_further_from_the_original(drawn_images):
    images = drawn_images(8, 32)
    far = [np.abs(as_jpeg(images, quality).astype(int) - images).mean() for quality in (95, 75, 50)]
    assert far == sorted(far)
    assert far[0] < 0.7 * far[2]


def test_a_shift_moves_by_all_eight_directions_and_repeats_the_border():
    rows, columns = np.mgrid[0:9, 0:7]
    image = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)
    seen = set()
    for moved in shift(np.stack([image] * 200), 2):
        down, right = 4 - int(moved[4, 3, 0]), 3 - int(moved[4, 3, 1])
        seen.add((down, right))
        np.testing.assert_array_equal(moved[..., 0], np.clip(rows - down, 0, 8))
        np.testing.assert_array_equal(moved[..., 1], np.clip(columns - right, 0, 6))
    assert seen == {(d, r) for d in (-2, 0, 2) for r in (-2, 0, 2)} - {(0, 0)}
