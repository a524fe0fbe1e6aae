"""The preprocessing contract, against formulas that share no code with it."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.core.golden_images import draw_images
from edgevit.core.tensors import Preprocess, resize_bilinear

SIZES = [
    ((12, 12), (16, 16)),
    ((32, 32), (48, 48)),
    ((20, 31), (16, 16)),
    ((7, 5), (7, 9)),
    ((4, 4), (1, 1)),
    ((1, 1), (3, 2)),
]


def resize_pixel_by_pixel(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The textbook: each output pixel from its four neighbours, borders repeated. H W C."""
    out = np.zeros((rows, columns, image.shape[2]))
    for row in range(rows):
        for column in range(columns):
            y = (row + 0.5) * image.shape[0] / rows - 0.5
            x = (column + 0.5) * image.shape[1] / columns - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (1 - abs(y - top - dy)) * (1 - abs(x - left - dx))
                source_y = min(max(top + dy, 0), image.shape[0] - 1)
                source_x = min(max(left + dx, 0), image.shape[1] - 1)
                out[row, column] += weight * image[source_y, source_x]
    return out


@pytest.mark.parametrize(("old", "new"), SIZES, ids=str)
def test_the_resize_is_bilinear_with_half_pixel_centres(old, new):
    image = draw_images(1, old, seed=3)[0].astype(np.float32)
    found = resize_bilinear(image[None], new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], resize_pixel_by_pixel(image, *new), atol=2e-4)


@pytest.mark.parametrize(("old", "new"), SIZES, ids=str)
def test_the_resize_is_what_tensorflow_computes(old, new):
    tf = pytest.importorskip("tensorflow")
    images = draw_images(3, old, seed=4).astype(np.float32)
    expected = tf.image.resize(images, new, method="bilinear", antialias=False).numpy()
    # TensorFlow keeps positions in float32, which is worth 1e-6 of the brightest level.
    np.testing.assert_allclose(resize_bilinear(images, new), expected, atol=1e-3)


def test_a_resize_to_the_same_size_changes_nothing():
    images = draw_images(2, (6, 7)).astype(np.float32)
    np.testing.assert_array_equal(resize_bilinear(images, (6, 7)), images)


def test_the_contract_resizes_then_crops_then_scales_each_channel():
    contract = Preprocess((10, 12), (8, 8), (11, 13), (1 / 255, 1 / 128, 2.0), (-0.5, -1.0, 3.0))
    images = draw_images(2, (10, 12), seed=1)
    found = contract.apply(images)
    assert found.shape == (2, 8, 8, 3)
    assert found.dtype == np.float32
    for image, result in zip(images, found, strict=True):
        enlarged = resize_pixel_by_pixel(image, 11, 13)
        cropped = enlarged[1:9, 2:10]  # (11 - 8) // 2 and (13 - 8) // 2
        expected = cropped * [1 / 255, 1 / 128, 2.0] + [-0.5, -1.0, 3.0]
        np.testing.assert_allclose(result, expected, atol=1e-3)


def test_the_default_contract_maps_0_to_255_onto_0_to_1():
    contract = Preprocess(input_size=(2, 2), network_size=(2, 2))
    images = np.array([0, 51, 255] * 4, np.uint8).reshape(1, 2, 2, 3)
    expected = np.array([0, 0.2, 1] * 4, np.float32).reshape(1, 2, 2, 3)
    np.testing.assert_allclose(contract.apply(images), expected, rtol=1e-6)


def test_images_of_any_size_may_enter_the_contract():
    contract = Preprocess((10, 10), (8, 8))
    assert contract.apply(draw_images(1, (31, 4))).shape == (1, 8, 8, 3)


def test_lists_from_json_become_tuples_so_that_contracts_compare_equal():
    listed = Preprocess([12, 12], [16, 16], [18, 18], [1, 1, 1], [0, 0, 0])
    assert listed == Preprocess((12, 12), (16, 16), (18, 18), (1, 1, 1), (0, 0, 0))
    assert hash(listed) == hash(Preprocess((12, 12), (16, 16), (18, 18), (1, 1, 1), (0, 0, 0)))
