"""Convolutions of patches and of single pixels become Gemms; scales before them move into them."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fold_scales import fold_input_scale
from edgevit.formats.onnx.writer.passes.lower_convolution import lower_convolution

RNG = np.random.default_rng(0)


def kernel(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def graph(attributes: str, out: str, image: str = "n,6,9,3") -> str:
    return f"""net (float[{image}] x) => (float[{out}] y) {{
        a = Transpose<perm=[0,3,1,2]>(x)  c = Conv<{attributes}>(a, w, b)
        y = Transpose<perm=[0,2,3,1]>(c) }}"""


def test_a_pointwise_convolution_is_a_gemm(rewrite):
    constants = {"w": kernel(5, 3, 1, 1), "b": kernel(5)}
    found = rewrite(lower_convolution, graph("strides=[1,1]", "n,6,9,5"), constants)
    assert found.operators == ["Reshape", "Gemm", "Reshape"]


def test_patches_are_cut_by_one_transpose(rewrite):
    constants = {"w": kernel(5, 3, 2, 3), "b": kernel(5)}
    found = rewrite(lower_convolution, graph("strides=[2,3]", "n,3,3,5"), constants)
    assert found.operators == ["Reshape", "Transpose", "Reshape", "Gemm", "Reshape"]


@pytest.mark.parametrize("batch", [1, 2])
def test_patches_of_an_image_that_is_channels_first_need_no_other(rewrite, batch):
    text = f"""net (float[{batch},3,6,9] x) => (float[{batch},3,3,5] y) {{
        c = Conv<strides=[2,3]>(x, w)  y = Transpose<perm=[0,2,3,1]>(c) }}"""
    found = rewrite(lower_convolution, text, {"w": kernel(5, 3, 2, 3)})
    assert found.operators.count("Transpose") == 1
    assert "Conv" not in found.operators


@pytest.mark.parametrize(
    ("attributes", "out", "shape", "reason"),
    [
        ("strides=[2,3], pads=[1,0,1,0]", "n,4,3,5", (5, 3, 2, 3), "padded"),
        ("strides=[4,3]", "n,1,3,5", (5, 3, 4, 3), "do not divide"),
        ("strides=[1,1], group=3", "n,6,9,6", (6, 1, 1, 1), "grouped"),
        ("strides=[1,1]", "n,4,7,5", (5, 3, 3, 3), None),
    ],
    ids=["padded", "remainder", "grouped", "overlapping"],
)
def test_other_convolutions_stay(decline, attributes, out, shape, reason):
    constants = {"w": kernel(*shape), "b": kernel(shape[0])}
    decline(lower_convolution, graph(attributes, out), constants, reason=reason)


def test_a_convolution_whose_result_stays_channels_first_stays(decline):
    text = "net (float[2,3,4,4] x) => (float[2,5,4,4] y) { y = Conv(x, w) }"
    decline(lower_convolution, text, {"w": kernel(5, 3, 1, 1)}, reason="B C H W")


SCALED = """net (float[2,6,9,3] x) => (float[2,{size},5] y) {{
    m = Mul(x, s)  o = Add(m, t)  a = Transpose<perm=[0,3,1,2]>(o)
    c = Conv<{attributes}>(a, w, b)  y = Transpose<perm=[0,2,3,1]>(c) }}"""
SCALES = {"s": np.array([0.5, 2.0, -1.5], np.float32), "t": kernel(3), "b": kernel(5)}


def test_pixels_are_scaled_by_the_kernel(rewrite):
    constants = {**SCALES, "w": kernel(5, 3, 3, 3)}
    text = SCALED.format(size="4,7", attributes="strides=[1,1]")
    found = rewrite(fold_input_scale, text, constants)
    assert found.operators == ["Transpose", "Conv", "Transpose"]


def test_with_padding_the_offset_stays_before_it(rewrite):
    constants = {**SCALES, "w": kernel(5, 3, 3, 3)}
    text = SCALED.format(size="6,9", attributes="pads=[1,1,1,1]")
    found = rewrite(fold_input_scale, text, constants)
    assert found.operators == ["Add", "Transpose", "Conv", "Transpose"]


@pytest.mark.parametrize(("offsets", "size"), [([-1, -1, -1], 1), ([-1, -1, -2], 3)])
def test_offsets_of_channels_that_are_equal_become_one_number(rewrite, offsets, size):
    """A vector of three takes onnxruntime 12 ns a pixel where channels are the last axis."""
    constants = {**SCALES, "s": np.float32([2, 2, 2]), "t": np.float32(offsets)}
    text = SCALED.format(size="6,9", attributes="pads=[1,1,1,1]")
    found = rewrite(fold_input_scale, text, {**constants, "w": kernel(5, 3, 3, 3)})
    (add,) = (node for node in found.model.graph.node if node.op_type == "Add")
    (shift,) = (array for array in found.model.graph.initializer if array.name == add.input[1])
    assert int(np.prod(shift.dims)) == size


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"s": np.array([0.5, 0.0, 1.0], np.float32)}, "scaled by zero"),
    ],
)
def test_scales_that_cannot_be_folded_stay(decline, change, reason):
    constants = {**SCALES, "w": kernel(5, 3, 3, 3), **change}
    decline(
        fold_input_scale,
        SCALED.format(size="6,9", attributes="pads=[1,1,1,1]"),
        constants,
        reason=reason,
    )
