"""A rewrite looks like a fault, until one asks what follows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgevit.formats.intermediate import IntermediateTensor
from edgevit.verification.align_layers import Alignment
from edgevit.verification.rewritten_layers import (
    DOUBTFUL,
    Trial,
    find_rewritten,
    is_cut,
    is_multiple,
    is_rescaled,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 8))
FIRST, SECOND, THIRD = (RNG.normal(size=(8, 8)) for _ in range(3))


def compute(stored: dict[str, np.ndarray], without: set[str]) -> dict[str, Trial]:
    """A chain of three float layers that are given the stored tensors of those before them."""
    trials, x = {}, X
    for name, weights in (("net/a", FIRST), ("net/b", SECOND), ("net/c", THIRD)):
        answer = x @ weights
        trials[name] = Trial.of(answer, stored[name])
        x = answer if name in without else stored[name]
    return trials


def judge(stored: dict[str, np.ndarray]) -> list[str]:
    trusted = compute(stored, set())
    doubted = {name for name, trial in trusted.items() if trial.relative > DOUBTFUL}
    return find_rewritten(trusted, compute(stored, doubted), doubted)


def test_a_factor_that_moved_into_the_next_layer_is_a_rewrite():
    a = X @ FIRST
    stored = {"net/a": 8 * a, "net/b": a @ SECOND, "net/c": a @ SECOND @ THIRD}
    assert judge(stored) == ["net/a"]


def test_a_factor_that_what_follows_keeps_is_a_fault():
    a = 2 * X @ FIRST
    assert judge({"net/a": a, "net/b": a @ SECOND, "net/c": a @ SECOND @ THIRD}) == []


def test_a_fault_behind_a_rewrite_stays_a_fault():
    a = X @ FIRST
    b = 2 * a @ SECOND
    assert judge({"net/a": 100 * a, "net/b": b, "net/c": b @ THIRD}) == ["net/a"]


@pytest.mark.parametrize(
    ("bend", "follows", "rewritten"),
    [
        (0.0, False, True),  # what is behind takes the factor and the offset back
        (0.3, False, False),  # no factor and offset: what is behind has to agree clearly
        (0.0, True, False),  # a fault: what is behind goes on with it
    ],
)
def test_behind_one_factor_and_offset_coarse_weights_decide(bend, follows, rewritten):
    a = X @ FIRST
    moved = 1.3 * a + 1 + bend * np.abs(a)
    with_it, without = moved @ SECOND, a @ SECOND
    b = with_it if follows else without
    b = b + 0.2 * np.sqrt(np.mean(np.square(with_it - without))) * RNG.normal(size=b.shape)
    stored = {"net/a": moved, "net/b": b, "net/c": b @ THIRD}
    assert ("net/a" in judge(stored)) is rewritten


@pytest.mark.parametrize("last", [np.nan, np.inf])
def test_what_is_no_number_is_no_rewrite(last):
    a = X @ FIRST
    stored = {"net/a": a, "net/b": np.full_like(a, last), "net/c": np.full_like(a, last)}
    assert judge(stored) == []


def test_a_sound_chain_has_no_doubts():
    a = X @ FIRST
    assert judge({"net/a": a, "net/b": a @ SECOND, "net/c": a @ SECOND @ THIRD}) == []


UNEVEN = np.array([0.5, 0.7, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0])
TURNED = np.array([1, 1, -1, 1, 1, 1, -1, 1])


def zeroed(x: np.ndarray) -> np.ndarray:
    return x * (np.arange(8) != 3)


@pytest.mark.parametrize(
    ("change", "rescaled"),
    [
        (lambda x: x * UNEVEN, True),
        (lambda x: np.round(x * UNEVEN / 0.1) * 0.1, True),  # and rounded
        (lambda x: zeroed(x * UNEVEN), True),  # what is behind it shows the fault
        (lambda x: x * UNEVEN * TURNED, True),  # a norm was folded, of factors of either sign
        (lambda x: 2 * x, False),
        (lambda x: x * np.where(np.arange(8) == 3, 1.5, 1), False),
        (zeroed, False),
        (lambda x: x[:, ::-1], False),
        (lambda x: x * -UNEVEN, False),
        (lambda x: np.full_like(x, np.nan), False),
    ],
)
def test_channels_on_scales_of_their_own_are_no_fault_of_the_layer(change, rescaled):
    answer = np.random.default_rng(5).normal(1.0, 1.0, (400, 8))
    assert is_rescaled(Trial.of(answer, change(answer))) is rescaled


def test_a_hard_sigmoid_is_in_the_file_six_times_as_large():
    """Its sixth is in the weights behind it."""
    answer = np.random.default_rng(5).uniform(0.0, 1.0, (400, 8))
    assert is_cut(Trial.of(answer, np.round(answer * 6 / 0.02) * 0.02))
    assert not is_cut(Trial.of(answer, answer * 5))


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        (lambda x: np.maximum(x, 0), True),
        (lambda x: np.round(np.clip(x, 0, 6) / 0.05) * 0.05, True),
        (lambda x: np.clip(x + 3, 0, 6), True),  # a hard sigmoid, before and behind its factor
        (lambda x: np.clip(x, -3, 3), True),
        (lambda x: np.clip(x / 6 + 0.5, 0, 1), True),
        (lambda x: np.clip(x + 2, 0, 6), False),
        (lambda x: np.maximum(1.5 * x, 0), False),
        (zeroed, False),
        (lambda x: np.full_like(x, np.nan), False),
    ],
)
def test_an_activation_that_is_no_layer_is_no_fault_of_the_one_before(change, cut):
    answer = np.random.default_rng(5).normal(1.0, 4.0, (400, 8))
    assert is_cut(Trial.of(answer, change(answer))) is cut


@pytest.mark.parametrize(
    ("change", "multiple"),
    [
        (lambda x: np.round(0.1 * x / 0.01) * 0.01, True),
        (lambda x: -0.1 * x, False),
        (lambda x: 0.1 * np.maximum(x, 0), False),
        (zeroed, False),
        (lambda x: np.zeros_like(x), False),
    ],
)
def test_one_factor_for_all_channels_is_seen(change, multiple):
    answer = np.random.default_rng(5).normal(1.0, 4.0, (400, 8))
    assert is_multiple(Trial.of(answer, change(answer))) is multiple


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("net_1/scale_10_1/mul;net_1/conv_1/BiasAdd;net_1/conv_1/convolution", True),
        ("net_1/conv_1/mul", False),  # its own
        ("net_1/scale_10_1/add;net_1/conv_1/BiasAdd", False),
        ("net_1/conv_1/BiasAdd;net_1/scale_10_1/mul", False),  # the step ends with the layer
    ],
)
def test_a_tensor_may_be_named_after_the_product_of_another_layer(name, product):
    tensor = IntermediateTensor(name, "net/conv", "CONV_2D", 0, (1, 4))
    alignment = Alignment(SimpleNamespace(layers=[]), None, {"net/conv": tensor}, {})
    assert alignment.ends_in_product("net/conv") is product
