"""Self-attention of wide heads needs neither keys nor values, and no Transposes."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.attend_through_tokens import attend_through_tokens
from edgevit.formats.onnx.writer.passes.table import FLOAT_PASSES

RNG = np.random.default_rng(0)
TOKENS, CHANNELS, HEADS, OUTPUT = 7, 6, 3, 5


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32) / 2


def write(batch: int | str = 1, outputs: str = "", between: str = "") -> str:
    """Self-attention on rows r, in the form that fuse_dense leaves behind."""
    rows = TOKENS * batch if isinstance(batch, int) else "m"
    return f"""net (float[{rows},{CHANNELS}] r) => (float[{rows},{OUTPUT}] y{outputs}) {{
        qg = Gemm(r, wq, bq)  qr = Reshape(qg, split)  q = Transpose<perm=[0,2,1,3]>(qr)
        kg = Gemm(r, wk, bk)  kr = Reshape(kg, split)  k = Transpose<perm=[0,2,3,1]>(kr)
        s = MatMul(q, k) {between}  a = Softmax<axis=-1>(s)
        vg = Gemm(r, wv, bv)  vr = Reshape(vg, split)  v = Transpose<perm=[0,2,1,3]>(vr)
        h = MatMul(a, v)  hr = Transpose<perm=[0,2,1,3]>(h)  g = Reshape(hr, join)
        y = Gemm(g, wo, bo) }}"""


def constants(depth: int = CHANNELS) -> dict[str, np.ndarray]:
    return {
        **{name: random(CHANNELS, HEADS * depth) for name in ("wq", "wk", "wv")},
        **{name: random(HEADS * depth) for name in ("bq", "bk", "bv")},
        "wo": random(HEADS * depth, OUTPUT),
        "bo": random(OUTPUT),
        "split": np.array([-1, TOKENS, HEADS, depth]),
        "join": np.array([-1, HEADS * depth]),
    }


def test_one_image_is_four_products_and_a_softmax(rewrite):
    found = rewrite(attend_through_tokens, write(), constants(), atol=1e-4)
    wanted = ["Gemm", "Reshape", "Gemm", "Softmax", "MatMul", "Reshape", "Gemm"]
    assert found.operators == wanted
    assert found.report.count == 1


def test_keys_and_values_are_in_two_kernels(rewrite):
    found = rewrite(attend_through_tokens, write(), constants(depth=9), atol=1e-4)
    sizes = sorted(tuple(array.dims) for array in found.model.graph.initializer if array.dims[1:])
    assert sizes == [(CHANNELS, HEADS * CHANNELS), (HEADS * CHANNELS, OUTPUT)]


def test_several_images_do_not_see_each_other(rewrite):
    found = rewrite(attend_through_tokens, write(batch=2), constants(), atol=1e-4)
    assert found.operators.count("Transpose") == 1  # of the tokens themselves
    assert found.operators.count("Gemm") == 2


def test_who_returns_the_attention_gets_it_as_it_was(rewrite):
    outputs = f", float[1,{HEADS},{TOKENS},{TOKENS}] a"
    found = rewrite(attend_through_tokens, write(outputs=outputs), constants(), atol=1e-4)
    assert found.report.count == 1
    assert found.operators.count("Transpose") == 1


@pytest.mark.parametrize("without", ["bq", "bk", "bv", "bo"])
def test_without_a_bias(rewrite, without):
    text = write().replace(f", {without})", ")")
    assert rewrite(attend_through_tokens, text, constants(), atol=1e-4).report.count == 1


def test_without_any_bias_the_products_add_nothing(rewrite):
    text = write()
    for name in ("bq", "bk", "bv", "bo"):
        text = text.replace(f", {name})", ")")
    found = rewrite(attend_through_tokens, text, constants(), atol=1e-4)
    gemms = [node for node in found.model.graph.node if node.op_type == "Gemm"]
    assert [len(node.input) for node in gemms] == [2, 2, 2]


def test_float32_files_get_it(rewrite):
    found = rewrite(FLOAT_PASSES, write(), constants(), atol=1e-4)
    assert "Transpose" not in found.operators


def test_narrow_heads_stay(decline):
    decline(attend_through_tokens, write(), constants(depth=2), "heads are narrower")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("kg = Gemm(r, wk", "r2 = Relu(r) kg = Gemm(r2, wk"), "different tokens"),
        (("y = Gemm(g, wo, bo)", "y = Gemm<alpha=2.0>(g, wo, bo)"), "scales or transposes"),
        (("y = Gemm(g, wo, bo)", "y = MatMul(g, wo)"), "no Dense layer behind"),
        (("qg = Gemm(r", "qg = Gemm<beta=0.5>(r"), "scales or transposes"),
        (("=> (", f"=> (float[1,{HEADS},{TOKENS},{TOKENS}] s, "), "scores are read"),
        (("=> (", f"=> (float[{TOKENS},{HEADS * CHANNELS}] vg, "), "read by something else"),
        (("y = Gemm(g", "z = Relu(a) y = Gemm(g"), "attention is read"),
        (("<axis=-1>", "<axis=2>"), None),
        (("=[0,2,1,3]>(h)", "=[0,3,1,2]>(h)"), None),
    ],
    ids=str,
)
def test_what_is_not_plain_self_attention_stays(decline, change, reason):
    text = write().replace(*change)
    if "z = " in change[1]:
        text = text.replace("=> (", f"=> (float[1,{HEADS},{TOKENS},{TOKENS}] z, ")
    table = constants()
    if "[0,3,1,2]" in change[1]:
        table["join"] = np.array([TOKENS, -1])
    decline(attend_through_tokens, text, table, reason, atol=1e-4)


def test_a_bias_of_positions_between_scores_and_softmax_stays(decline):
    """It belongs to the attention, and there is no place for it in the tokens."""
    text = write(between="s2 = Add(s, p)").replace("(s)", "(s2)")
    decline(attend_through_tokens, text, {**constants(), "p": random(TOKENS, TOKENS)})
