"""Images keep one order between convolutions, and turn where the fewest numbers are moved."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.library import share_equal_nodes
from edgevit.formats.onnx.writer.passes.place_channels import place_channels

RNG = np.random.default_rng(0)
FIRST, LAST = "Transpose<perm=[0,3,1,2]>", "Transpose<perm=[0,2,3,1]>"


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def conv(source: str, result: str, kernel: str = "w", attributes: str = "pads=[1,1,1,1]") -> str:
    """A convolution as tf2onnx writes it."""
    return f"""{result}_a = {FIRST}({source})  {result}_c = Conv<{attributes}>({result}_a, {kernel})
        {result} = {LAST}({result}_c)"""


def net(body: str, image: str = "2,4,6,5", out: str = "2,4,6,5") -> str:
    return f"net (float[{image}] x) => (float[{out}] y) {{ {body} }}"


KERNEL = {"w": random(5, 5, 3, 3) / 5}
STEPS = {
    "activation": ("q = Relu(p)", {}),
    "clip": ("q = Clip(p, low, high)", {"low": np.float32(0), "high": np.float32(0.5)}),
    "factor a channel": ("q = Mul(s, p)", {"s": random(5)}),
    "factor a row": ("q = Mul(p, s)", {"s": random(4, 1, 1)}),
    "number": ("q = Add(p, s)", {"s": random(1)}),
    "learned slope": ("q = PRelu(p, s)", {"s": random(1, 1, 5)}),
    "residual": ("q = Add(x, p)", {}),
    "itself": ("q = Mul(p, p)", {}),
    "squeeze and excitation": ("m = ReduceMean<keepdims=1>(p, n)  g = Sigmoid(m)  q = Mul(p, g)", {
        "n": np.array([1, 2], np.int64),
    }),
    "maximum of channels": ("m = ReduceMax<keepdims=1>(p, n)  q = Sub(p, m)", {
        "n": np.array([3], np.int64),
    }),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_between_convolutions_channels_stay_first(rewrite, step):
    text, constants = STEPS[step]
    body = f"{conv('x', 'p')}  {text}  {conv('q', 'y')}"
    found = rewrite((place_channels, share_equal_nodes), net(body), {**KERNEL, **constants})
    assert found.operators.count("Transpose") == 2
    assert [found.operators[0], found.operators[-1]] == ["Transpose", "Transpose"]


def test_a_mean_over_all_pixels_is_a_pooling(rewrite):
    text, constants = STEPS["squeeze and excitation"]
    body = f"{conv('x', 'p')}  {text}  {conv('q', 'y')}"
    found = rewrite(place_channels, net(body), {**KERNEL, **constants})
    assert "GlobalAveragePool" in found.operators
    assert "ReduceMean" not in found.operators


def test_a_gate_that_was_a_vector_is_an_image_of_one_pixel(rewrite):
    """Keras' GlobalAveragePooling2D, a Reshape to 1 x 1, and 1x1 convolutions."""
    body = f"""{conv("x", "p")}  m = ReduceMean<keepdims=0>(p, n)  r = Reshape(m, shape)
        {conv("r", "g", "v", "strides=[1,1]")}  q = Mul(p, g)  {conv("q", "y")}"""
    constants = {**KERNEL, "v": random(5, 5, 1, 1) / 5, "n": np.array([1, 2], np.int64)}
    constants["shape"] = np.array([-1, 1, 1, 5], np.int64)
    found = rewrite((place_channels, share_equal_nodes), net(body), constants)
    assert found.operators.count("Transpose") == 2


@pytest.mark.parametrize("body", ["Pad(p, e)", "Concat<axis=-1>(p, x)", "Concat<axis=1>(x, p)"])
def test_axes_that_are_named_are_named_anew(rewrite, body):
    wide = 10 if "axis=-1" in body else 5
    rows = 8 if "axis=1" in body else 7 if "Pad" in body else 4
    text = net(f"{conv('x', 'p')}  q = {body}  {conv('q', 'y', 'v')}", out=f"2,{rows},6,5")
    constants = {**KERNEL, "v": random(5, wide, 3, 3)}
    constants["e"] = np.array([0, 1, 0, 0, 0, 2, 0, 0], np.int64)
    found = rewrite((place_channels, share_equal_nodes), text, constants)
    assert found.operators.count("Transpose") == 2


def test_rows_of_a_dense_layer_follow_what_is_flattened(rewrite):
    body = f"{conv('x', 'p')}  r = Relu(p)  f = Reshape(r, shape)  y = MatMul(f, k)"
    constants = {**KERNEL, "k": random(120, 3), "shape": np.array([-1, 120], np.int64)}
    found = rewrite(place_channels, net(body, out="2,3"), constants)
    assert found.operators.count("Transpose") == 1


def test_where_both_cost_the_same_channels_stay_last(rewrite):
    body = f"q = Relu(x)  {conv('q', 'p')}  y = Neg(p)"
    found = rewrite(place_channels, net(body), KERNEL)
    assert found.report.count == 0
    assert found.operators == ["Relu", "Transpose", "Conv", "Transpose", "Neg"]


def test_a_layer_that_wants_channels_last_keeps_its_neighbours(rewrite):
    """Two transposes more to bring two activations to the convolution do not pay."""
    body = f"""n = LayerNormalization(x, s)  q = Relu(n)  {conv("q", "p")}
        r = Relu(p)  y = LayerNormalization(r, s)"""
    found = rewrite(place_channels, net(body), {**KERNEL, "s": random(5)})
    assert found.report.count == 0


def test_a_pointwise_convolution_among_layers_that_want_channels_last_is_left_to_become_a_gemm(
    rewrite,
):
    body = f"n = LayerNormalization(x, s)  {conv('n', 'p', 'w', 'strides=[1,1]')}  y = Relu(p)"
    found = rewrite(place_channels, net(body), {"w": random(5, 5, 1, 1), "s": random(5)})
    assert found.operators == ["LayerNormalization", "Transpose", "Conv", "Transpose", "Relu"]


def test_the_cheapest_place_to_turn_is_the_smallest_image(rewrite):
    """A tensor of few channels in between: it is turned there, once, whoever reads it."""
    body = f"""{conv("x", "p", "few", "strides=[1,1]")}  a = Relu(p)  b = Neg(a)
        n = LayerNormalization(a, s)  m = LayerNormalization(b, s)  y = Add(n, m)"""
    constants = {"few": random(2, 5, 3, 3), "s": random(2)}
    found = rewrite((place_channels, share_equal_nodes), net(body, out="2,2,4,2"), constants)
    assert found.operators.count("Transpose") == 2


def test_sequences_and_volumes_too(rewrite):
    for rank, image in ((3, "2,9,5"), (5, "2,4,3,6,5")):
        first = ",".join(map(str, (0, rank - 1, *range(1, rank - 1))))
        last = ",".join(map(str, (0, *range(2, rank), 1)))
        text = f"""net (float[{image}] x) => (float[{image}] y) {{
            a = Transpose<perm=[{first}]>(x)  c = Conv(a, w)  p = Transpose<perm=[{last}]>(c)
            q = Mul(p, s)  r = Relu(q)
            b = Transpose<perm=[{first}]>(r)  d = Conv(b, w)  y = Transpose<perm=[{last}]>(d) }}"""
        constants = {"w": random(5, 5, *(1,) * (rank - 2)), "s": random(5)}
        found = rewrite(place_channels, text, constants)
        assert found.operators == ["Transpose", "Conv", "Mul", "Relu", "Conv", "Transpose"]
