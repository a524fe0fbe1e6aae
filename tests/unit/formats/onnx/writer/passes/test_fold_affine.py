"""BatchNormalization, biases and scales behind layers with weights are in those weights."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fold_affine import fold_affine

RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def norm(image: str, out: str, layer: str, first: str, last: str) -> str:
    """A layer between Transposes, then a factor and an offset a channel."""
    return f"""net (float[{image}] x) => (float[{out}] y) {{
        a = Transpose<perm=[{first}]>(x)  c = {layer}
        t = Transpose<perm=[{last}]>(c)  m = Mul(t, s)  y = Add(o, m) }}"""


FIRST, LAST = "0,3,1,2", "0,2,3,1"
LAYERS = {
    "plain": (norm("2,6,9,4", "2,4,7,6", "Conv(a, w)", FIRST, LAST), (6, 4, 3, 3), None),
    "biased": (norm("2,6,9,4", "2,4,7,6", "Conv(a, w, b)", FIRST, LAST), (6, 4, 3, 3), 6),
    "depthwise": (
        norm("2,6,9,6", "2,6,9,6", "Conv<group=6, pads=[1,1,1,1]>(a, w, b)", FIRST, LAST),
        (6, 1, 3, 3),
        6,
    ),
    "grouped": (norm("2,6,9,4", "2,4,7,6", "Conv<group=2>(a, w)", FIRST, LAST), (6, 2, 3, 3), None),
    "one axis": (norm("2,9,4", "2,7,6", "Conv(a, w, b)", "0,2,1", "0,2,1"), (6, 4, 3), 6),
    "three axes": (
        norm("2,5,6,9,4", "2,3,4,7,6", "Conv(a, w)", "0,4,1,2,3", "0,2,3,4,1"),
        (6, 4, 3, 3, 3),
        None,
    ),
    "transposed": (
        norm("2,6,9,4", "2,13,19,6", "ConvTranspose<strides=[2,2]>(a, w, b)", FIRST, LAST),
        (4, 6, 3, 3),
        6,
    ),
    "transposed, grouped": (
        norm("2,6,9,4", "2,8,11,6", "ConvTranspose<group=2>(a, w)", FIRST, LAST),
        (4, 3, 3, 3),
        None,
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_norm_behind_any_convolution_is_in_its_weights(rewrite, layer):
    text, shape, bias = LAYERS[layer]
    constants = {"w": random(*shape), "s": random(6), "o": random(6)}
    constants |= {} if bias is None else {"b": random(bias)}
    found = rewrite(fold_affine, text, constants)
    assert set(found.operators) <= {"Transpose", "Conv", "ConvTranspose"}
    assert found.report.count == 2


def test_a_norm_behind_a_convolution_of_sequences(rewrite):
    """Keras' Conv1D is one of images of one row."""
    text = """net (float[2,9,4] x) => (float[2,7,6] y) {
        u = Unsqueeze(x, one)  a = Transpose<perm=[0,3,1,2]>(u)  c = Conv(a, w)
        t = Transpose<perm=[0,2,3,1]>(c)  q = Squeeze(t, one)  m = Mul(q, s)  y = Add(m, o) }"""
    constants = {"w": random(6, 4, 1, 3), "s": random(6), "o": random(6)}
    found = rewrite(fold_affine, text, {**constants, "one": np.array([1], np.int64)})
    assert found.operators == ["Unsqueeze", "Transpose", "Conv", "Transpose", "Squeeze"]


def test_a_norm_behind_a_dense_layer(rewrite):
    text = """net (float[6,8] x) => (float[2,3,4] y) {
        g = Gemm(x, w, b)  r = Reshape(g, shape)  m = Mul(r, s)  y = Add(m, o) }"""
    constants = {"w": random(8, 4), "b": random(4), "s": random(4), "o": random(4)}
    constants["shape"] = np.array([2, 3, 4], np.int64)
    assert rewrite(fold_affine, text, constants).operators == ["Gemm", "Reshape"]


@pytest.mark.parametrize("step", ["Sub(c, o)", "Sub(o, c)", "Div(c, o)", "Add(c, o)", "Mul(o, c)"])
def test_each_step_with_each_order_of_operands(rewrite, step):
    text = f"net (float[2,3,6,9] x) => (float[2,5,4,7] y) {{ c = Conv(x, w, b)  y = {step} }}"
    constants = {"w": random(5, 3, 3, 3), "b": random(5), "o": random(1, 5, 1, 1)}
    assert rewrite(fold_affine, text, constants).operators == ["Conv"]


def test_half_precision_stays(rewrite):
    text = """net (float[2,3,6,9] x) => (float[2,5,4,7] y) {
        h = Cast<to=10>(x)  c = Conv(h, w)  m = Mul(c, s)  y = Cast<to=1>(m) }"""
    constants = {"w": random(5, 3, 3, 3), "s": random(5, 1, 1)}
    halves = {name: array.astype(np.float16) for name, array in constants.items()}
    found = rewrite(fold_affine, text, halves, atol=2e-2)
    assert found.operators == ["Cast", "Conv", "Cast"]
    assert {kernel.data_type for kernel in found.model.graph.initializer} == {10}


CONV = "net (float[2,3,6,9] x) => (float[2,5,4,7] y) {{ c = Conv(x, w)  {} }}"


@pytest.mark.parametrize(
    ("steps", "constant", "reason"),
    [
        ("y = Mul(c, o)", (7,), "channels alone"),
        ("y = Mul(c, o)", (1, 5, 4, 7), "channels alone"),
        ("y = Div(o, c)", (1, 5, 1, 1), None),
        ("m = Mul(c, o)  n = Neg(c)  y = Add(m, n)", (1, 5, 1, 1), None),
    ],
    ids=["width", "space", "reciprocal", "read elsewhere"],
)
def test_what_is_no_factor_of_channels_stays(decline, steps, constant, reason):
    constants = {"w": random(5, 3, 3, 3), "o": random(*constant)}
    decline(fold_affine, CONV.format(steps), constants, reason=reason)


def test_a_factor_along_the_rows_stays(decline):
    text = "net (float[6,8] x) => (float[6,4] y) { g = Gemm(x, w)  y = Mul(g, s) }"
    decline(fold_affine, text, {"w": random(8, 4), "s": random(6, 1)}, reason="channels alone")
