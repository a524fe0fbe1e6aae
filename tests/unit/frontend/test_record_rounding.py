"""What float32 rounding alone makes of a network's outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.core.tolerance import Rounding
from edgevit.formats.registry import find_target
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import record_reference
from edgevit.frontend.record_rounding import find_roundings, move_inputs, record_roundings


def test_every_number_moves_to_the_next_one_and_integers_stay():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 7)).astype(np.float32)
    words = np.arange(5, dtype=np.int32)
    moved, same = move_inputs([values, words], np.random.default_rng(1))
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(np.abs(moved - values), np.abs(np.spacing(values)))
    assert 0.3 < np.mean(moved > values) < 0.7
    np.testing.assert_array_equal(same, words)


def network(depth: int) -> keras.Model:
    """Each layer nearly doubles a small difference."""
    keras.utils.set_random_seed(3)
    given = keras.Input((24,), name="state")
    x = given
    large = keras.initializers.RandomNormal(stddev=3 / np.sqrt(24))
    for _ in range(depth):
        x = layers.Dense(24, activation="tanh", kernel_initializer=large)(x)
    return keras.Model(given, layers.Dense(3, name="force")(x), name=f"deep{depth}")


@pytest.mark.parametrize("depth", [2, 26])
def test_a_chaotic_network_is_told_from_others(depth):
    source = open_source(network(depth), task="regression")
    reference = record_reference(source)
    tolerance = find_target("onnx-float32").tolerance
    (rounding,) = record_roundings(source, reference).values()
    found = find_roundings(source, reference, tolerance)
    if depth == 2:
        assert rounding.relative < 1e-6
        assert found is None
    else:
        assert rounding.relative > 1e-4
        assert found == {"force": rounding}


@pytest.mark.parametrize("values", [(-1.0, 0.0), (0.0, float("nan"))])
def test_a_rounding_that_is_none_is_refused(values):
    with pytest.raises(ValueError, match="rounding"):
        Rounding(*values)
