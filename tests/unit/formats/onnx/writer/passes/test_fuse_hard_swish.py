"""Hard sigmoid and hard swish are one node each, however they are spelt."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fuse_hard_swish import fuse_hard_sigmoid, fuse_hard_swish

CONSTANTS = {
    name: np.float32(value)
    for name, value in {
        "three": 3, "zero": 0, "six": 6, "sixth": 1 / 6, "five": 5, "half": 0.5, "two": 2,
    }.items()
}  # fmt: skip
GATES = {
    "Keras": "a = Add(x, three)  c = Clip(a, zero, six)  g = Mul(c, sixth)",
    "the other way round": "a = Add(three, x)  c = Clip(a, zero, six)  g = Mul(sixth, c)",
    "divided": "a = Add(x, three)  c = Clip(a, zero, six)  g = Div(c, six)",
}


def net(body: str) -> str:
    return f"net (float[2,8] x) => (float[2,8] y) {{ {body} }}"


@pytest.mark.parametrize("gate", GATES)
def test_a_hard_sigmoid_is_one_node(rewrite, gate):
    found = rewrite(fuse_hard_sigmoid, net(f"{GATES[gate]}  y = Neg(g)"), CONSTANTS)
    assert found.operators == ["HardSigmoid", "Neg"]


@pytest.mark.parametrize("product", ["Mul(x, g)", "Mul(g, x)"])
def test_a_hard_swish_is_one_node(rewrite, product):
    text = net(f"{GATES['Keras']}  y = {product}")
    found = rewrite((fuse_hard_sigmoid, fuse_hard_swish), text, CONSTANTS)
    assert found.operators == ["HardSwish"]


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("a = Add(x, three)  c = Clip(a, zero, five)  g = Mul(c, sixth)", "upper end"),
        ("a = Add(x, three)  c = Clip(a, half, six)  g = Mul(c, sixth)", None),
        ("a = Add(x, three)  c = Clip(a, zero, six)  g = Div(six, c)", None),
        ("c = Clip(x, zero, six)  g = Mul(c, sixth)", None),
        ("a = Add(x, x)  c = Clip(a, zero, six)  g = Mul(c, sixth)", None),
    ],
    ids=["five", "half", "reciprocal", "without offset", "no constant"],
)
def test_other_clipped_sums_stay(decline, gate, reason):
    text = net(f"{gate}  p = Clip(g, zero, two)  y = Neg(p)")
    decline(fuse_hard_sigmoid, text, CONSTANTS, reason=reason)


def test_another_slope_is_no_hard_swish(decline):
    text = net("g = HardSigmoid<alpha=0.2, beta=0.5>(x)  y = Mul(x, g)")
    decline(fuse_hard_swish, text, reason="slope")


def test_the_gate_of_another_value_is_no_hard_swish(decline):
    text = net("n = Neg(x)  g = HardSigmoid<alpha=0.16666667, beta=0.5>(n)  y = Mul(x, g)")
    decline(fuse_hard_swish, text)
