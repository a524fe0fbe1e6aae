"""One query asks the tokens themselves, not their keys and values."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.attend_with_one_query import ask_tokens, mix_tokens
from edgevit.formats.onnx.writer.passes.gather_rows import merge_reshapes

RNG = np.random.default_rng(0)
TOKENS, CHANNELS = 7, 12
PASSES = (ask_tokens, mix_tokens, merge_reshapes)


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def write(batch="2", heads=1, queries=1, between="a = Softmax<axis=-1>(s)", outputs=""):
    """Attention of query tokens q over tokens x, both given; keys and values as Gemms."""
    depth = CHANNELS // heads
    out = f"float[{batch},{heads},{queries},{depth}] y{outputs}"
    values = "v = Reshape(vg, one)" if heads == 1 else f"vr = Reshape(vg, split) v = {FIRST}(vr)"
    query = f"float[{batch},{heads},{queries},{depth}] q"
    return f"""net ({query}, float[{batch},{TOKENS},{CHANNELS}] x) => ({out}) {{
        r = Reshape(x, rows)
        kg = Gemm(r, wk, bk)  kr = Reshape(kg, split)  k = {LAST}(kr)
        s = MatMul(q, k)  {between}
        vg = Gemm(r, wv, bv)  {values}
        y = MatMul(a, v) }}"""


LAST, FIRST = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,2,1,3]>"


def constants(heads: int = 1) -> dict[str, np.ndarray]:
    depth = CHANNELS // heads
    return {
        "wk": random(CHANNELS, CHANNELS),
        "bk": random(CHANNELS),
        "wv": random(CHANNELS, CHANNELS),
        "bv": random(CHANNELS),
        "rows": whole(-1, CHANNELS),
        "split": whole(-1, TOKENS, heads, depth),
        "one": whole(-1, 1, TOKENS, depth),
    }


def count_long_gemms(found) -> int:
    """Gemms that still work on all tokens."""
    shapes = {
        value.name: value.type.tensor_type.shape.dim for value in found.model.graph.value_info
    }
    return sum(
        node.op_type == "Gemm" and shapes[node.output[0]][0].dim_value not in (0, 2)  # 2: the batch
        for node in found.model.graph.node
    )


@pytest.mark.parametrize("batch", ["2", "n"])
def test_one_head_needs_two_gemms_of_one_row(rewrite, batch):
    outputs = f", float[{batch},1,1,{TOKENS}] a"
    found = rewrite(PASSES, write(batch, outputs=outputs), constants(), atol=1e-4)
    assert "Transpose" not in found.operators
    assert found.operators.count("Gemm") == 2
    assert found.operators.count("MatMul") == 2
    assert found.operators.count("Softmax") == 1
    assert count_long_gemms(found) == 0


@pytest.mark.parametrize("batch", ["2", "n"])
@pytest.mark.parametrize("heads", [2, 3])
def test_heads_are_blocks_of_the_kernels(rewrite, batch, heads):
    outputs = f", float[{batch},{heads},1,{TOKENS}] a"
    found = rewrite(PASSES, write(batch, heads, outputs=outputs), constants(heads), atol=1e-4)
    assert "Gemm" not in found.operators
    assert found.operators.count("MatMul") == 4
    assert found.operators.count("Transpose") == 2  # of K numbers a token, not of D


def test_without_biases(rewrite):
    text = write().replace(", bk)", ")").replace(", bv)", ")")
    found = rewrite(PASSES, text, constants(), atol=1e-4)
    assert found.operators.count("Gemm") == 2


@pytest.mark.parametrize("step", [ask_tokens, mix_tokens])
def test_several_queries_keep_their_keys_and_values(decline, step):
    decline(step, write(queries=2), constants())


def test_scores_without_a_softmax_keep_their_keys(decline):
    decline(ask_tokens, write(between="a = Sigmoid(s)"), constants(), reason="no softmax behind")


def test_weights_that_do_not_sum_to_one_keep_their_values(decline):
    decline(mix_tokens, write(between="a = Sigmoid(s)"), constants(), reason="no softmax before")


def test_a_softmax_over_another_axis_does_not_count(decline):
    text = write(between="a = Softmax<axis=1>(s)")
    decline(ask_tokens, text, constants(), reason="no softmax behind")
    decline(mix_tokens, text, constants(), reason="no softmax before")


def test_keys_that_the_graph_returns_stay(decline):
    outputs = f", float[m,{CHANNELS}] kg"
    decline(ask_tokens, write(outputs=outputs), constants(), reason="something else")


def test_a_gemm_that_transposes_stays(decline):
    text = (
        write()
        .replace("Gemm(r, wk", "Gemm<transB=1>(r, wk")
        .replace("Gemm(r, wv", "Gemm<alpha=2.0>(r, wv")
    )
    decline(ask_tokens, text, constants(), reason="scales or transposes")
    decline(mix_tokens, text, constants(), reason="scales or transposes")
