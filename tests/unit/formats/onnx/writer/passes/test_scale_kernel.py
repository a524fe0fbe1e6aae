"""A gate moved from the rows into the kernel."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.scale_kernel import scale_kernel
from edgevit.formats.onnx.writer.passes.table import FLOAT_PASSES

RNG = np.random.default_rng(4)
KERNEL = {"kernel": RNG.normal(size=(6, 5)).astype(np.float32)}
BIAS = {"bias": RNG.normal(size=5).astype(np.float32)}
SHAPES = {
    "to_gate": np.array([1, 1, 1, 6], np.int64),
    "to_rows": np.array([12, 6], np.int64),
}
NET = """net (float[1,3,4,6] x, float[1,6] s) => (float[12,5] y) {{
    gate = Reshape(s, to_gate)
    gated = Mul({operands})
    rows = Reshape(gated, to_rows)
    y = Gemm(rows, kernel{bias}) }}"""


@pytest.mark.parametrize("operands", ["x, gate", "gate, x"])
@pytest.mark.parametrize("bias", [{}, BIAS])
def test_the_kernel_is_scaled_instead(rewrite, operands, bias):
    text = NET.format(operands=operands, bias=", bias" if bias else "")
    found = rewrite(FLOAT_PASSES, text, {**KERNEL, **bias, **SHAPES})
    assert sorted(found.operators) == ["Gemm", "Mul", "Reshape", "Reshape"]
    mul = next(node for node in found.model.graph.node if node.op_type == "Mul")
    assert "kernel" in mul.input


def test_rows_need_no_reshape(rewrite):
    text = """net (float[12,6] x, float[1,6] gate) => (float[12,5] y) {
        gated = Mul(x, gate)
        y = Gemm(gated, kernel) }"""
    assert rewrite(scale_kernel, text, KERNEL).report.count == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("float[12,5] y", "float[12,5] y, float[1,3,4,6] gated"), "something else reads"),
        (("Gemm(rows", "Gemm<transB=1>(rows"), "transposed"),
        (("Gemm(rows", "Gemm<alpha=0.5>(rows"), "scaled"),
    ],
)
def test_it_leaves_alone_what_it_would_break(decline, change, reason):
    square = {"kernel": RNG.normal(size=(6, 6)).astype(np.float32)}
    text = NET.format(operands="x, gate", bias="").replace("[12,5]", "[12,6]")
    change = tuple(part.replace("[12,5]", "[12,6]") for part in change)
    decline(scale_kernel, text.replace(*change), {**square, **SHAPES}, reason)


def test_a_gate_for_each_image_stays(decline):
    text = """net (float[2,6,6] x, float[2,1,6] gate) => (float[12,5] y) {
        gated = Mul(x, gate)
        rows = Reshape(gated, to_rows)
        y = Gemm(rows, kernel) }"""
    decline(scale_kernel, text, {**KERNEL, **SHAPES}, "each image of a batch")


def test_fewer_rows_than_the_kernel_has_columns_stay(decline):
    text = """net (float[5,6] x, float[1,6] gate) => (float[5,5] y) {
        gated = Mul(x, gate)
        y = Gemm(gated, kernel) }"""
    decline(scale_kernel, text, KERNEL, "larger than the rows")


def test_a_computed_kernel_stays(decline):
    text = """net (float[12,6] x, float[1,6] gate, float[6,5] w) => (float[12,5] y) {
        gated = Mul(x, gate)
        y = Gemm(gated, w) }"""
    decline(scale_kernel, text, {}, "not constant")


def test_a_trained_scale_is_none_of_its_business(decline):
    text = """net (float[12,6] x) => (float[12,5] y) {
        gated = Mul(x, factor)
        y = Gemm(gated, kernel) }"""
    decline(scale_kernel, text, {**KERNEL, "factor": np.ones((1, 6), np.float32)})
