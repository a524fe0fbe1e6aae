"""Transposes and Reshapes meet and vanish; means and norms are written as products."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.cancel_transposes import (
    cancel_transposes,
    raise_transposes,
    sink_transposes,
)
from edgevit.formats.onnx.writer.passes.fix_reshape_targets import fix_reshape_targets
from edgevit.formats.onnx.writer.passes.fold_norm_affine import fold_norm_affine
from edgevit.formats.onnx.writer.passes.gather_rows import gather_rows, merge_reshapes
from edgevit.formats.onnx.writer.passes.library import share_equal_nodes
from edgevit.formats.onnx.writer.passes.mean_as_product import mean_as_product

RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


FIRST, LAST = "Transpose<perm=[0,3,1,2]>", "Transpose<perm=[0,2,3,1]>"


def test_inverse_transposes_vanish(rewrite):
    text = f"""net (float[2,4,5,3] x) => (float[2,4,5,3] y) {{
        a = {FIRST}(x)  b = {LAST}(a)  y = Neg(b) }}"""
    assert rewrite(cancel_transposes, text).operators == ["Neg"]


def test_two_transposes_become_one(rewrite):
    text = f"net (float[2,4,5,3] x) => (float[2,5,3,4] y) {{ a = {FIRST}(x) y = {FIRST}(a) }}"
    assert rewrite(cancel_transposes, text).operators == ["Transpose"]


@pytest.mark.parametrize("image", ["2,1,1,3", "n,1,1,3", "1,4,5,1"])
def test_moving_an_axis_of_one_is_a_reshape(rewrite, image):
    rank = image.split(",")
    out = ",".join([rank[0], rank[3], rank[1], rank[2]])
    text = f"net (float[{image}] x) => (float[{out}] y) {{ y = {FIRST}(x) }}"
    assert rewrite(cancel_transposes, text).operators == ["Reshape"]


def test_a_transpose_that_moves_something_stays(decline):
    decline(cancel_transposes, f"net (float[2,4,5,3] x) => (float[2,3,4,5] y) {{ y = {FIRST}(x) }}")


@pytest.mark.parametrize("operation", ["Gelu(a)", "Mul(a, c)", "Add(c, a)", "Sub(c, a)"])
def test_elementwise_nodes_let_transposes_meet(rewrite, operation):
    text = f"""net (float[2,4,5,3] x) => (float[2,4,5,3] y) {{
        a = {FIRST}(x)  m = {operation}  y = {LAST}(m) }}"""
    constants = {} if "Gelu" in operation else {"c": random(3, 1, 1)}
    found = rewrite((sink_transposes, cancel_transposes), text, constants)
    assert found.operators == [operation.split("(")[0]]


def test_an_activation_without_a_transpose_below_stays(decline):
    text = f"net (float[2,4,5,3] x) => (float[2,3,4,5] y) {{ a = {FIRST}(x)  y = Gelu(a) }}"
    decline(sink_transposes, text)


def test_a_sum_of_two_activations_stays(decline):
    text = f"""net (float[2,4,5,3] x, float[2,3,4,5] z) => (float[2,4,5,3] y) {{
        a = {FIRST}(x)  m = Add(a, z)  y = {LAST}(m) }}"""
    decline(sink_transposes, text, reason="not constant")


def test_residual_blocks_of_convolutions_keep_channels_first(rewrite):
    """Two sums, an activation behind each, and a reader of the first one's beside them."""
    text = f"""net (float[2,3,4,5] x, float[2,3,4,5] z) => (float[2,4,5,3] y) {{
        a = {LAST}(x)  b = {LAST}(z)  s = Add(a, b)  r = Relu(s)
        n = {FIRST}(r)  m = Neg(n)  c = {LAST}(m)
        t = Add(r, c)  y = Relu(t) }}"""
    found = rewrite((sink_transposes, cancel_transposes), text)
    assert sorted(found.operators) == ["Add", "Add", "Neg", "Relu", "Relu", "Transpose"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"""net (float[2,3,4,5] x, float[2,3,5,4] z) => (float[2,4,5,3] y) {{
                a = {LAST}(x)  b = Transpose<perm=[0,3,2,1]>(z)  y = Add(a, b) }}""",
            "permutations differ",
        ),
        (
            f"""net (float[2,3,4,5] x, float[2,3,1,1] z) => (float[2,4,5,3] y) {{
                a = {LAST}(x)  b = {LAST}(z)  y = Add(a, b) }}""",
            "broadcast",
        ),
        (
            f"""net (float[2,3,4,5] x) => (float[2,4,5,3] y) {{
                a = {LAST}(x)  y = Add(a, a) }}""",
            "the same",
        ),
        (
            f"""net (float[2,3,4,5] x, float[2,3,4,5] z)
                => (float[2,4,5,3] y, float[2,4,5,3] m, float[2,4,5,3] n) {{
                a = {LAST}(x)  b = {LAST}(z)  y = Add(a, b)  m = Neg(a)  n = Neg(b) }}""",
            "both would stay",
        ),
    ],
    ids=["permutations", "broadcast", "same", "read elsewhere"],
)
def test_a_sum_of_two_transposes_stays(decline, text, reason):
    decline(sink_transposes, text, reason=reason)


@pytest.mark.parametrize("operation", ["Add(x, c)", "Sub(c, x)", "Mul(x, c)", "Div(x, c)"])
def test_a_constant_of_few_channels_moves_below_the_transpose(rewrite, operation):
    """onnxruntime adds vectors of three 12 ns each where channels are the last axis."""
    text = f"""net (float[2,4,5,3] x) => (float[2,3,4,5] y) {{
        a = {operation}  y = {FIRST}(a) }}"""
    found = rewrite(raise_transposes, text, {"c": random(3)})
    assert found.operators == ["Transpose", operation.split("(")[0]]


@pytest.mark.parametrize(
    ("shape", "constant", "reason"),
    [
        ("2,4,5,7", (7,), "no longer behind"),  # the loop over columns would be shorter
        ("2,4,5,3", (5, 1), "other axes"),
        ("2,4,5,3", (), "no longer behind"),  # a single number is as fast in either order
    ],
    ids=["many channels", "columns", "number"],
)
def test_another_constant_stays_above_the_transpose(decline, shape, constant, reason):
    batch, rows, columns, channels = shape.split(",")
    text = f"""net (float[{shape}] x) => (float[{batch},{channels},{rows},{columns}] y) {{
        a = Add(x, c)  y = {FIRST}(a) }}"""
    decline(raise_transposes, text, {"c": random(*constant)}, reason=reason)


def test_a_constant_of_few_channels_that_others_read_stays(decline):
    text = f"""net (float[2,4,5,3] x) => (float[2,3,4,5] y, float[2,4,5,3] z) {{
        a = Add(x, c)  y = {FIRST}(a)  z = Neg(a) }}"""
    decline(raise_transposes, text, {"c": random(3)}, reason="something else")


def test_a_pad_moves_below_the_transpose(rewrite):
    text = f"""net (float[2,4,5,3] x) => (float[2,3,7,6] y) {{ p = Pad(x, w)  y = {FIRST}(p) }}"""
    found = rewrite(raise_transposes, text, {"w": whole(0, 1, 0, 0, 0, 2, 1, 0)})
    assert found.operators == ["Transpose", "Pad"]


def test_a_pad_that_others_read_stays(decline):
    text = f"""net (float[2,4,5,3] x) => (float[2,3,7,6] y, float[2,7,6,3] z) {{
        p = Pad(x, w)  y = {FIRST}(p)  z = Neg(p) }}"""
    decline(raise_transposes, text, {"w": whole(0, 1, 0, 0, 0, 2, 1, 0)}, reason="something else")


BLOCK = """net (float[{b},4,8] x) => (float[{b},4,8] y) {{
    n = LayerNormalization<axis=-1>(x, gamma, beta)
    r = Reshape(n, rows)  g = Gemm(r, w, b)  t = Reshape(g, tokens)
    a = Gelu(t)
    s = Reshape(a, wide)  h = Gemm(s, v)  u = Reshape(h, back)
    y = Add(x, u) }}"""


def block_constants(batch: int) -> dict[str, np.ndarray]:
    return {
        "gamma": random(8),
        "beta": random(8),
        "w": random(8, 6),
        "b": random(6),
        "v": random(6, 8),
        "rows": whole(-1, 8),
        "tokens": whole(batch, 4, 6),
        "wide": whole(-1, 6),
        "back": whole(batch, 4, 8),
    }


@pytest.mark.parametrize(("batch", "count"), [("2", 2), ("n", -1)])
def test_a_block_works_on_rows_from_end_to_end(rewrite, batch, count):
    found = rewrite(
        (gather_rows, merge_reshapes, share_equal_nodes),
        BLOCK.format(b=batch),
        block_constants(count),
    )
    assert found.operators == [
        "Reshape",
        "LayerNormalization",
        "Gemm",
        "Gelu",
        "Gemm",
        "Add",
        "Reshape",
    ]


def test_position_embeddings_are_rows_too(rewrite):
    text = """net (float[8,3] x) => (float[2,4,3] y) {
        g = Gemm(x, w)  t = Reshape(g, tokens)  y = Add(t, positions) }"""
    constants = {"w": random(3, 3), "tokens": whole(2, 4, 3), "positions": random(4, 3)}
    assert rewrite(gather_rows, text, constants).operators == ["Gemm", "Add", "Reshape"]


def test_a_gate_for_each_image_stays(decline):
    text = """net (float[8,3] x, float[2,1,3] z) => (float[2,4,3] y) {
        g = Gemm(x, w)  t = Reshape(g, tokens)  y = Mul(t, z) }"""
    constants = {"w": random(3, 3), "tokens": whole(2, 4, 3)}
    decline(gather_rows, text, constants, reason="repeated along the rows")


def test_a_norm_over_tokens_stays(decline):
    text = """net (float[8,3] x) => (float[2,4,3] y) {
        g = Gemm(x, w)  t = Reshape(g, tokens)
        y = LayerNormalization<axis=1>(t, gamma) }"""
    constants = {"w": random(3, 3), "tokens": whole(2, 4, 3), "gamma": random(4, 3)}
    decline(gather_rows, text, constants, reason="more than rows")


def test_a_reshape_that_copies_a_length_stays(decline):
    text = """net (float[2,12] x) => (float[2,3,4] y) {
        a = Reshape(x, one)  y = Reshape(a, two) }"""
    constants = {"one": whole(2, 12, 1), "two": whole(0, 3, 4)}
    decline(merge_reshapes, text, constants, reason="copies a length")


@pytest.mark.parametrize("batch", ["2", "n"])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_mean_over_pixels_is_a_product(rewrite, batch, keep):
    out = f"{batch},1,1,3" if keep else f"{batch},3"
    text = f"""net (float[{batch},4,5,3] x) => (float[{out}] y) {{
        y = ReduceMean<keepdims={keep}>(x, axes) }}"""
    found = rewrite(mean_as_product, text, {"axes": whole(1, 2)})
    assert "ReduceMean" not in found.operators
    assert found.operators.count("MatMul") == 1


def test_a_mean_over_channels_stays(decline):
    text = "net (float[2,4,5,3] x) => (float[2,4,5] y) { y = ReduceMean<keepdims=0>(x, axes) }"
    decline(mean_as_product, text, {"axes": whole(3)})


def test_a_mean_over_three_pixels_stays(decline):
    text = "net (float[2,3,1,3] x) => (float[2,3] y) { y = ReduceMean<keepdims=0>(x, axes) }"
    decline(mean_as_product, text, {"axes": whole(1, 2)}, reason="fewer than")


AFFINE = """net (float[5,8] x) => (float[5,6] y, float[5,6] z) {
    n = LayerNormalization<axis=-1>(x, gamma, beta)
    y = Gemm(n, w, b)  z = Gemm(n, v) }"""
AFFINES = {
    "gamma": random(8),
    "beta": random(8),
    "w": random(8, 6),
    "b": random(6),
    "v": random(8, 6),
}


def test_scale_and_offset_move_into_every_gemm_behind(rewrite):
    found = rewrite(fold_norm_affine, AFFINE, AFFINES)
    norm = found.model.graph.node[0]
    assert found.operators == ["LayerNormalization", "Gemm", "Gemm"]
    assert len(norm.input) == 2
    assert [len(node.input) for node in found.model.graph.node[1:]] == [3, 3]


def test_a_norm_that_others_read_keeps_its_scale(decline):
    text = AFFINE.replace("z = Gemm(n, v)", "z = Gemm(x, v)").replace(
        "float[5,6] z)", "float[5,6] z, float[5,8] t)"
    )
    text = text.replace("y = Gemm", "t = Neg(n)  y = Gemm")
    decline(fold_norm_affine, text, AFFINES, reason="something else")


COMPUTED = """net (float[n,4,6] x, float[n,24] z) => (float[n,24] y, float[n,24] w) {
    s = Shape<start=0, end=1>(x)  t = Concat<axis=0>(s, width)
    r = Reshape(x, t)  y = Neg(r)  w = Neg(z) }"""


def test_a_target_that_is_known_but_for_the_batch_is_not_computed(rewrite):
    found = rewrite(fix_reshape_targets, COMPUTED, {"width": whole(24)})
    assert found.operators == ["Reshape", "Neg", "Neg"]


def test_a_target_with_two_free_lengths_stays(decline):
    text = "net (float[a,b] z) => (float[a,b] y) { t = Shape(z)  y = Reshape(z, t) }"
    decline(fix_reshape_targets, text, reason="more than one length")
