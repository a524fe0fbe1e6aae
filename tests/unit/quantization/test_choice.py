"""A file is called nearer where it is, and where chance alone speaks it is not."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.quantization.choice import fold, is_nearer, relative_errors, shake

COUNT = 60


def drawn(seed: int, mean: float = 1.0) -> np.ndarray:
    return mean * np.random.default_rng(seed).uniform(0.5, 1.5, COUNT)


def test_a_clear_gain_is_taken_and_the_way_back_is_not():
    before, after = {"a": drawn(0)}, {"a": drawn(1, 0.7)}
    assert is_nearer(after, before)
    assert not is_nearer(before, after)


def test_other_draws_of_the_same_error_are_chance():
    taken = [is_nearer({"a": drawn(2 * n)}, {"a": drawn(2 * n + 1)}) for n in range(40)]
    assert sum(taken) <= 3  # one in forty is expected


def test_what_gains_in_the_mean_is_refused_where_one_output_loses():
    before = {"a": drawn(0), "b": drawn(1)}
    assert not is_nearer({"a": drawn(2, 0.3), "b": drawn(3, 1.3)}, before)
    assert is_nearer({"a": drawn(2, 0.3), "b": drawn(3)}, before)


def test_squares_hear_the_few_samples_that_are_far_off():
    before, after = {"a": drawn(0)}, {"a": drawn(1, 0.6)}
    after["a"][:2] = 4
    assert is_nearer(after, before)
    assert not is_nearer(after, before, power=2)


def test_nothing_is_nearer_than_right():
    assert not is_nearer({"a": np.zeros(COUNT)}, {"a": np.zeros(COUNT)})
    assert not is_nearer({}, {})


def test_errors_are_relative_to_how_far_an_output_moves():
    wanted = np.random.default_rng(0).normal(0, 5, (400, 3))
    (found,) = relative_errors({"a": wanted + 0.5}, {"a": wanted}).values()
    np.testing.assert_allclose(found, 0.1, rtol=0.1)
    assert relative_errors({"a": np.ones((4, 2))}, {"a": np.zeros((4, 2))}) == {}


def test_pictures_are_moved_by_one_and_nothing_else_is():
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 3), dtype=np.uint8)
    found, times = shake({"picture": pictures, "pose": drawn(0)[:, None]}, 3)
    parts = found["picture"].reshape(3, *pictures.shape).astype(int)
    assert times == 3
    assert (parts[0] == pictures).all()
    assert np.abs(parts - pictures).max() == 1
    assert (found["pose"].reshape(3, COUNT) == drawn(0)).all()
    assert shake({"pose": drawn(0)[:, None]}, 3)[1] == 1
    errors = fold({"a": np.repeat([1.0, 3.0], COUNT)}, 2)["a"]
    assert errors == pytest.approx(np.full(COUNT, 2.0))
