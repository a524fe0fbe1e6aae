"""Products with constant matrices become Gemms on rows; cut ones become several."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fuse_dense import fuse_dense
from edgevit.formats.onnx.writer.passes.gather_rows import merge_reshapes
from edgevit.formats.onnx.writer.passes.merge_slices import join_slices
from edgevit.formats.onnx.writer.passes.split_dense import split_dense

RNG = np.random.default_rng(0)
W = RNG.normal(size=(8, 6)).astype(np.float32)
B = RNG.normal(size=6).astype(np.float32)


def test_two_axes_need_no_reshape(rewrite):
    text = "net (float[3,8] x) => (float[3,6] y) { p = MatMul(x, w)  y = Add(p, b) }"
    found = rewrite(fuse_dense, text, {"w": W, "b": B})
    assert found.operators == ["Gemm"]


@pytest.mark.parametrize("shape", ["2,5,8", "n,5,8", "2,3,4,8"])
def test_more_axes_are_gathered(rewrite, shape):
    out = shape[:-1] + "6"
    text = f"net (float[{shape}] x) => (float[{out}] y) {{ p = MatMul(x, w)  y = Add(b, p) }}"
    found = rewrite(fuse_dense, text, {"w": W, "b": B.reshape(1, 1, 6)})
    assert found.operators == ["Reshape", "Gemm", "Reshape"]


def test_a_bias_behind_a_reshape_is_found(rewrite):
    text = """net (float[10,8] x) => (float[2,5,6] y) {
        p = MatMul(x, w)  r = Reshape(p, shape)  y = Add(r, b) }"""
    constants = {"w": W, "b": B, "shape": np.array([2, 5, 6], np.int64)}
    assert rewrite(fuse_dense, text, constants).operators == ["Gemm", "Reshape"]


def test_a_product_without_bias_is_a_gemm_too(rewrite):
    text = "net (float[3,8] x) => (float[3,6] y) { y = MatMul(x, w) }"
    assert rewrite(fuse_dense, text, {"w": W}).operators == ["Gemm"]


def test_what_is_added_along_the_rows_is_no_bias(rewrite):
    text = "net (float[6,8] x) => (float[6,6] y) { p = MatMul(x, w)  y = Add(p, b) }"
    found = rewrite(fuse_dense, text, {"w": W, "b": B.reshape(6, 1)})
    assert found.operators == ["Gemm", "Add"]


def test_attention_products_stay(decline):
    text = "net (float[2,4,8] x, float[2,8,4] z) => (float[2,4,4] y) { y = MatMul(x, z) }"
    decline(fuse_dense, text)


def test_a_stack_of_matrices_stays(decline):
    text = "net (float[2,4,8] x) => (float[2,4,6] y) { y = MatMul(x, w) }"
    decline(fuse_dense, text, {"w": np.stack([W, W])}, reason="3 axes")


CUT = """net (float[3,8] x) => (float[3,1,2] q, float[3,1,4] k) {
    g = Gemm(x, w, b)  r = Reshape(g, shape)
    q = Slice(r, zero, two, axes)  k = Slice(r, two, six, axes) }"""
CUTS = {
    "w": W,
    "b": B,
    "shape": np.array([3, 1, 6], np.int64),
    "zero": np.array([0], np.int64),
    "two": np.array([2], np.int64),
    "six": np.array([6], np.int64),
    "axes": np.array([2], np.int64),
}


def test_a_cut_product_becomes_one_for_each_part(rewrite):
    found = rewrite((split_dense, merge_reshapes), CUT, CUTS)
    assert sorted(found.operators) == ["Gemm", "Gemm", "Reshape", "Reshape"]


GATES = """net (float[3,8] x) => (float[3,1,2] q, float[3,1,1] f, float[3,1,1] g, float[3,1,1] h) {
    d = Gemm(x, w, b)  r = Reshape(d, shape)
    f = Slice(r, two, three, axes)  q = Slice(r, zero, two, axes)
    h = Slice(r, five, six, axes)  g = Slice(r, three, four, axes) }"""
PLACES = {name: np.array([i], np.int64) for i, name in enumerate(("three", "four", "five"), 3)}


def test_single_columns_beside_each_other_share_a_product(rewrite):
    found = rewrite((split_dense, join_slices, merge_reshapes), GATES, {**CUTS, **PLACES})
    assert sorted(found.operators) == ["Gemm"] * 3 + ["Reshape"] * 3 + ["Split"]


def test_single_columns_alone_stay_one_product(decline):
    text = GATES.replace("float[3,1,2] q, ", "").replace("q = Slice(r, zero, two, axes)", "")
    decline(split_dense, text, {**CUTS, **PLACES}, reason="single columns")


def test_a_product_cut_along_its_rows_stays(decline):
    text = CUT.replace("float[3,1,2] q, float[3,1,4] k", "float[2,1,6] q, float[1,1,6] k")
    cuts = {**CUTS, "six": np.array([3], np.int64), "axes": np.array([0], np.int64)}
    decline(split_dense, text, cuts, reason="not cut along its columns")


def test_overlapping_parts_stay(decline):
    text = CUT.replace("float[3,1,2] q", "float[3,1,4] q").replace("zero, two", "zero, four")
    cuts = {**CUTS, "four": np.array([4], np.int64)}
    decline(split_dense, text, cuts, reason="overlap")


def test_a_product_that_is_also_read_whole_stays(decline):
    text = CUT.replace("k) {", "k, float[3,6] y) {").replace("q = Slice", "y = Neg(g)  q = Slice")
    decline(split_dense, text, CUTS)


def test_parts_that_are_put_together_again_stay(decline):
    text = CUT.replace("float[3,1,2] q, float[3,1,4] k", "float[3,1,6] y")
    text = text.replace(
        "k = Slice(r, two, six, axes)", "k = Slice(r, two, six, axes) y = Concat<axis=2>(k, q)"
    )
    decline(split_dense, text, CUTS, reason="put together again")


def test_slices_of_everything_are_one_split(rewrite):
    text = CUT.replace("g = Gemm(x, w, b)  r = Reshape(g, shape)", "r = Reshape(x, shape)")
    text = text.replace("float[3,8] x", "float[3,6] x")
    cuts = {key: value for key, value in CUTS.items() if key not in ("w", "b")}
    assert rewrite(join_slices, text, cuts).operators == ["Reshape", "Split"]
