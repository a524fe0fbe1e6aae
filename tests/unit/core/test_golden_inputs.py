"""Golden values for any kind of input: the same bits everywhere, and alike to what models see."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgevit.core.golden_images import draw_images
from edgevit.core.golden_inputs import FREE, Draw, draw_inputs
from edgevit.core.signature import InputSpec
from edgevit.core.tensors import Preprocess

# sha256 of three samples of the seed 5: they decide whether old files can still be verified.
PINNED = {
    Draw((7,), "float32"): "204b52619d006096c83785ca7f25a547e001b262184b09cbabe86210f6be57c8",
    Draw((4, 3), "float32"): "f7ed1aa396068c5a36e64bb4e5f1fd403f9d551f93e7542d78d655a238508deb",
    Draw(
        (6,), "int32", levels=100
    ): "53013eac6bd59b0f2b84f87ce244788777939ec37906d6001f12c71a30e82dcd",
    Draw((6,), "int32"): "f5336ceb14c0e126836a74264dfda6670b46bf33f9142c04c11f8bc162183ddb",
    Draw(
        (9, 8, 1), "uint8", picture=True
    ): "4ae136a71e81042aea7144249c2faf7505cdcf1a4f74af75e85a35e3dff81740",
    Draw(
        (9, 8, 3), "uint8", picture=True
    ): "4fb21a7056351d5ac69f09287c1cf63c7185160fbc3ad118357ced51ce211ee9",
    Draw(
        (9, 8, 4), "uint8", picture=True
    ): "b7f57bebe23229a9953c49e2828d1ed3a20dd817c32dd895c2c70b6a4bf1855b",
    Draw(
        (9, 8, 5), "uint8", picture=True
    ): "8d5a029a33e5395a990a12d4f972eb53cde8fdb878d2da8dffe6eeb3cc3ee8c9",
    Draw(
        (3, 9, 8, 3), "uint8", picture=True
    ): "42f83ba3ee429644d64d6c062b3583d171cab23134a9063c94474f4e05141517",
}
DRAWS = list(PINNED)


def name_of(draw: Draw) -> str:
    return f"{'picture' if draw.picture else draw.dtype}{draw.shape}{draw.levels or ''}"


@pytest.mark.parametrize("draw", DRAWS, ids=name_of)
def test_the_bits_of_every_kind_are_pinned(draw):
    found = draw.draw(3, 5)
    assert found.dtype == draw.dtype
    assert found.shape == (3, *draw.shape)
    assert hashlib.sha256(found.tobytes()).hexdigest() == PINNED[draw]


@pytest.mark.parametrize("draw", DRAWS, ids=name_of)
def test_a_sample_does_not_depend_on_how_many_are_drawn(draw):
    np.testing.assert_array_equal(draw.draw(2, 5), draw.draw(5, 5)[:2])


@pytest.mark.parametrize("draw", DRAWS, ids=name_of)
def test_no_two_samples_are_equal_and_another_seed_gives_others(draw):
    found = draw.draw(6, 0)
    if draw.dtype != "int32" or draw.levels:
        assert len({sample.tobytes() for sample in found}) == 6
    assert not np.array_equal(found, draw.draw(6, 6))


def test_pictures_of_three_channels_are_the_golden_images():
    draw = Draw((9, 8, 3), "uint8", picture=True)
    np.testing.assert_array_equal(draw.draw(3, 5), draw_images(3, (9, 8), 5))


def test_grey_is_the_brightness_of_the_golden_images():
    grey = Draw((9, 8, 1), "uint8", picture=True).draw(3, 5)
    weights = np.array([0.299, 0.587, 0.114])
    expected = draw_images(3, (9, 8), 5).astype(float) @ weights
    assert np.abs(grey[..., 0] - expected).max() < 2


def test_a_fourth_channel_is_a_picture_of_its_own():
    found = Draw((16, 16, 4), "uint8", picture=True).draw(8, 0)
    assert found[..., 3].std() > 20
    assert not any(np.array_equal(found[..., 3], found[..., c]) for c in range(3))


def test_floats_are_nearly_normal():
    found = Draw((100, 100), "float32").draw(4, 1)
    assert abs(found.mean()) < 0.01
    assert abs(found.std() - 1) < 0.01
    assert 3 < np.abs(found).max() <= 6
    assert abs(np.mean(found**4) / np.mean(found**2) ** 2 - 3) < 0.2


def test_integers_use_every_level_and_no_other():
    found = Draw((1000,), "int32", levels=7).draw(2, 0)
    assert set(np.unique(found)) == set(range(7))
    assert set(np.unique(Draw((1000,), "int32").draw(2, 0))) == {0, 1}


def test_frames_of_a_clip_move_by_a_pixel():
    clip = Draw((3, 9, 8, 3), "uint8", picture=True).draw(2, 5)
    for step in range(3):
        np.testing.assert_array_equal(clip[:, step], np.roll(clip[:, 0], step, axis=2))


def test_two_inputs_of_the_same_kind_never_see_the_same_values():
    same = Draw((16,), "float32")
    found = draw_inputs({"a": same, "b": same}, 4, seed=3)
    assert list(found) == ["a", "b"]
    assert not np.intersect1d(found["a"], found["b"]).size > 4
    np.testing.assert_array_equal(found["a"], same.draw(4, 3))


def test_what_is_drawn_is_what_a_caller_hands_over():
    contract = Preprocess((20, 30), (8, 8))
    picture = InputSpec("p", (None, 8, 8, 3), "float32", contract)
    assert Draw.of(picture) == Draw((20, 30, 3), "uint8", picture=True)
    tokens = InputSpec("t", (None, None), "int32", None, levels=9)
    assert Draw.of(tokens) == Draw((FREE,), "int32", levels=9)
