"""What rounding should do, against what rounding does."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.core.layer_errors import FloatLayer, Role
from edgevit.core.target import Precision
from edgevit.formats.intermediate import IntermediateTensor, Product, Rounding
from edgevit.verification.layer_errors import ErrorSums, LayerSums, summarise
from edgevit.verification.rounding_noise import InsideNoise, ProductNoise
from helpers.levels import levels

INPUTS, OUTPUTS, ROWS = 64, 200, 4000
STEP = 0.02


def drawn(mean: float, alike: float, seed: int = 0) -> np.ndarray:
    """ROWS INPUTS with a mean and a part that all of them share."""
    rng = np.random.default_rng(seed)
    own, shared = rng.normal(size=(ROWS, INPUTS)), rng.normal(size=(ROWS, 1))
    return mean + (1 - alike) * own + alike * shared


def weights(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, (OUTPUTS, INPUTS))


def noise_of(product: Product, values: np.ndarray, shape: tuple[int, ...]) -> ProductNoise:
    noise = ProductNoise(product)
    for half in np.array_split(values, 2):
        noise.add(half, shape)
    return noise


def dense(stored: np.ndarray, **how) -> Product:
    return Product("net/dense", "x", np.full(OUTPUTS, STEP), stored, INPUTS, **how)


def systematic(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    sums = ErrorSums()
    sums.add(expected, found)
    return sums.systematic


@pytest.mark.parametrize(("mean", "alike"), [(2.0, 0.0), (0.0, 0.9), (1.0, 0.5)])
def test_rounded_weights_leave_the_pattern_that_is_predicted(mean, alike):
    x, w = drawn(mean, alike), weights()
    found = systematic(x @ w.T, x @ (np.round(w / STEP) * STEP).T).mean()
    predicted = noise_of(dense(w), x, (ROWS // 2, INPUTS)).of_weights.mean()
    assert 0.4 * predicted < found < 1.2 * predicted


def test_independent_inputs_leave_no_more_than_is_predicted():
    x, w = drawn(0.0, 0.0), weights()
    found = systematic(x @ w.T, x @ (np.round(w / STEP) * STEP).T).mean()
    assert found < noise_of(dense(w), x, (ROWS // 2, INPUTS)).of_weights.mean()


def test_a_fault_in_the_weights_does_not_raise_what_is_predicted_for_them():
    x, w = drawn(1.0, 0.5), weights()
    sound = noise_of(dense(w), x, (ROWS // 2, INPUTS)).of_weights
    for faulty in (2 * w, w[::-1], 0 * w):
        np.testing.assert_array_equal(
            noise_of(dense(faulty), x, (ROWS // 2, INPUTS)).of_weights, sound
        )


def test_float_weights_are_not_rounded():
    product = Product("net/dense", "x", np.zeros(OUTPUTS), weights(), INPUTS)
    assert not noise_of(product, drawn(1, 0.5), (ROWS // 2, INPUTS)).of_weights.any()


def in_rows(x: np.ndarray) -> np.ndarray:
    step = 2 * np.abs(x).max(axis=1, keepdims=True) / 255
    return np.round(x / step) * step


def in_one(x: np.ndarray) -> np.ndarray:
    step = (x.max() - x.min()) / 255
    return np.round(x / step) * step


@pytest.mark.parametrize(
    ("rounding", "step", "apply"),
    [
        (Rounding.STORED, 0.5, lambda x: np.round(x / 0.5) * 0.5),
        (Rounding.STORED, 4.0, lambda x: np.round(x / 4.0) * 4.0),
        (Rounding.ROW, 0.0, in_rows),
        (Rounding.RUN, 0.0, in_one),
    ],
)
def test_rounding_of_what_enters_is_predicted_whole_and_as_a_pattern(rounding, step, apply):
    x, w = drawn(0.3, 0.3), weights()
    values = x.reshape(1, -1) if rounding is Rounding.RUN else x
    noise = ProductNoise(dense(w, rounding=rounding, step=step))
    noise.add(values, (ROWS, INPUTS))
    whole, pattern = noise.of_input
    error = (apply(x) - x) @ w.T
    if step != 4.0:  # rounded so coarsely, errors of neighbours are alike
        assert whole.mean() == pytest.approx(np.square(error).mean(), rel=0.25)
    found = systematic(x @ w.T, x @ w.T + error).mean()
    limit = 0.02 * whole.mean() if step != 4.0 else 0.0
    assert pattern.mean() == pytest.approx(found, rel=0.35, abs=limit)
    assert (found > 0.3 * np.square(error).mean()) == (step == 4.0)


def test_channels_are_found_where_they_are():
    rng = np.random.default_rng(4)
    scale = np.arange(1.0, 6.0)
    x = rng.normal(size=(3, 5, 8, 8)) * scale[:, None, None]  # B C H W
    steps = np.full(5, STEP)
    product = Product(
        *("net/conv", "x", steps, rng.normal(size=(5, 9)), 5),
        **{"window": 9, "depthwise": True, "channels": 1},
    )
    noise = ProductNoise(product)
    noise.add(x.reshape(3, -1), (1, 5, 8, 8))
    expected = STEP**2 / 12 * 9 * np.square(x).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(noise.of_weights, expected, rtol=0.1)


def entry(expected: np.ndarray, found: np.ndarray, **more) -> LayerSums:
    layer = FloatLayer("net/dense", "Dense", (OUTPUTS,), Role.COMPUTES)
    tensor = IntermediateTensor("t", layer.path, "OP", 0, (1, OUTPUTS), levels(0.01, 1e3))
    sums = LayerSums(layer, tensor, **more)
    sums.add_added(expected, found)
    return sums


def beside_sound_layers(found: np.ndarray, **more) -> tuple[float, int]:
    """(decibels beyond what is expected, channel) of one Dense layer among four."""
    x, w = drawn(1.0, 0.5), weights()
    expected = x @ w.T
    sound = [entry(expected, np.round(expected / 0.01) * 0.01) for _ in range(3)]
    row = summarise([*sound, entry(expected, found, **more)], Precision.INT8)[-1]
    return row.excess_db, row.channel


def test_coarse_weights_are_no_fault_but_a_lost_channel_among_them_is():
    x, rough = drawn(1.0, 0.5), np.round(weights() / 0.2) * 0.2
    product = Product("net/dense", "x", np.full(OUTPUTS, 0.2), rough, INPUTS)
    known = [noise_of(product, x, (ROWS // 2, INPUTS))]
    assert beside_sound_layers(x @ rough.T, products=known)[0] < 10
    assert beside_sound_layers(x @ rough.T)[0] > 20  # without the prediction it looks like a fault
    rough[7] = 0
    beyond, channel = beside_sound_layers(x @ rough.T, products=known)
    assert channel == 7
    assert beyond > 12


def test_coarse_integers_inside_a_layer_count_where_they_are_shared():
    mean = IntermediateTensor("mean", "net/norm", "MEAN", 0, (1, 4), levels(0.6))
    square = IntermediateTensor("square", "net/norm", "MUL", 1, (1, 4), levels(0.3))
    values = {"mean": np.full((2, 4), 3.0, "f4"), "square": np.full((2, 4), 1.0, "f4")}
    noise = InsideNoise()
    noise.add([mean, square], values)
    assert noise.relative == pytest.approx(0.6**2 / 12 / 9 + 0.3**2 / 12)
    alone = InsideNoise()
    alone.add([square], values)
    assert alone.relative == 0
    silent = InsideNoise()
    silent.add([mean], {"mean": np.zeros((2, 4), "f4")})
    assert silent.relative == 1


def test_a_bare_norm_is_measured_in_the_units_of_the_layer():
    x = drawn(0.0, 0.0)
    scale, offset = np.linspace(0.5, 4, INPUTS), np.linspace(-3, 3, INPUTS)
    layer = FloatLayer("net/norm", "LayerNormalization", (INPUTS,), Role.COMPUTES, (scale, offset))
    tensor = IntermediateTensor(
        "t", layer.path, "MUL", 0, (1, INPUTS), levels(0.05, 1.0), layer.path
    )
    sums = LayerSums(layer, tensor)
    rounded = np.clip(np.round(x / 0.05) * 0.05, -1, 1)
    sums.add_added(x * scale + offset, rounded * scale + offset)
    assert sums.clipped / sums.values == pytest.approx((np.abs(x) > 1.025).mean(), abs=1e-3)
    assert sums.saturated / sums.values == pytest.approx((np.abs(x) > 0.975).mean(), abs=1e-3)
    np.testing.assert_allclose(sums.noise[-1] / sums.noise[0], 64, rtol=0.3)


def limited(share: float) -> float:
    """Decibels beyond expectation where a tensor's levels end before so many of the values."""
    expected = np.random.default_rng(5).normal(size=(ROWS, OUTPUTS)).astype("f4")
    end = float(np.quantile(np.abs(expected), 1 - share))
    layer = FloatLayer("net/dense", "Dense", (OUTPUTS,), Role.COMPUTES)
    tensor = IntermediateTensor("t", layer.path, "OP", 0, (1, OUTPUTS), levels(end / 127, end))
    sums = LayerSums(layer, tensor)
    found = np.clip(np.round(expected / (end / 127)), -127, 127) * (end / 127)
    sums.add_added(expected, found.astype("f4"))
    sound = [entry(expected, np.round(expected / 0.01) * 0.01) for _ in range(3)]
    return summarise([*sound, sums], Precision.INT8)[-1].excess_db


def test_a_range_may_leave_out_rare_values_but_no_more():
    assert limited(0.005) < 6
    assert limited(0.2) > 15
