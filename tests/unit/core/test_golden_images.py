"""Drawn images: reproducible, each on its own, with the statistics of photographs."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.core.golden_images import draw_images
from programs import run_program

SIDE = 32


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return draw_images(128, (SIDE, SIDE), seed=1)


def spectral_slope(images: np.ndarray) -> float:
    """Exponent of the mean amplitude spectrum over frequency, of grey N H H."""
    side = images.shape[1]
    grey = images.astype(np.float64).mean(axis=-1)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    window = np.hanning(side)[:, None] * np.hanning(side)[None]
    amplitude = np.abs(np.fft.fft2(grey * window)).mean(axis=0)
    cycles = np.fft.fftfreq(side) * side
    distance = np.hypot(cycles[:, None], cycles[None])
    rings = np.arange(2, side // 2)
    mean = [amplitude[abs(distance - ring) < 0.5].mean() for ring in rings]
    return float(np.polyfit(np.log(rings), np.log(mean), 1)[0])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first = draw_images(3, (12, 10), seed=5)
    assert first.shape == (3, 12, 10, 3)
    assert first.dtype == np.uint8
    assert first.tobytes() == draw_images(3, (12, 10), seed=5).tobytes()
    assert not np.array_equal(first, draw_images(3, (12, 10), seed=6))


def test_another_process_draws_the_same_bytes():
    drawn = bytes.fromhex(run_program("draw_golden", PYTHONHASHSEED="7").stdout)
    assert drawn == draw_images(3, (12, 10), seed=5).tobytes()


def test_an_image_does_not_depend_on_how_many_are_drawn():
    many = draw_images(6, (12, 10), seed=2)
    np.testing.assert_array_equal(draw_images(2, (12, 10), seed=2), many[:2])


def test_no_two_images_are_equal(images):
    assert len({image.tobytes() for image in images}) == len(images)


def test_the_amplitude_spectrum_falls_as_in_photographs(images):
    assert -1.6 <= spectral_slope(images) <= -0.8


def test_the_spectrum_check_tells_noise_from_pictures(images):
    noise = np.random.default_rng(0).integers(0, 256, images.shape)
    assert abs(spectral_slope(noise)) < 0.1


def test_colour_channels_go_together_as_in_photographs(images):
    correlation = np.corrcoef(images.reshape(-1, 3).astype(np.float64).T)
    assert correlation[np.triu_indices(3, 1)].min() > 0.8
    assert correlation[np.triu_indices(3, 1)].max() < 0.999  # and are not grey


def test_levels_use_the_range_without_clipping_most_of_it(images):
    assert 90 < images.mean() < 166
    assert images.std() > 30
    assert np.mean((images == 0) | (images == 255)) < 0.25


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (33, 16), (5, 64)], ids=str)
def test_any_size_can_be_drawn(size):
    assert draw_images(2, size).shape == (2, *size, 3)


def test_no_image_is_an_empty_batch():
    assert draw_images(0, (4, 4)).shape == (0, 4, 4, 3)
