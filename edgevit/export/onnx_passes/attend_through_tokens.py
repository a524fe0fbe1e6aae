"""Self-attention whose heads are as wide as a token, without keys, values and Transposes.

Per head, with tokens X (N C), ``(X Wq + bq) (X Wk + bk)^T`` is ``(X Wq Wk^T + bq Wk^T) X^T`` plus
one number a row, which the softmax ignores; and ``P (X Wv + bv) Wo`` is ``(P X) (Wv Wo)`` plus
``bv Wo``, since P's rows sum to one. The two products of weights are made once, in double
precision. What is left of the layer are four products:

1. queries: X (N C) by C K*C, where K heads lie side by side;
2. scores: the same numbers as N*K rows of C, by X^T;
3. mixing: the softmax of those rows, by X;
4. output: the same numbers as N rows of K*C, by K*C O.

Rows of a query's heads follow each other, so nothing is transposed unless the graph returns the
attention. Keras' MultiHeadAttention takes ``key_dim`` for each head: where it is the tokens' width,
as in the tutorial's ViT, this halves the layer's weights, and onnxruntime 1.31 runs that network in
0.85 of the time on one AVX2 thread. Where heads are narrower (usually C = K D), the products would
be larger: those stay.

For float32: an 8-bit file needs ranges of tensors that Keras computes, and these are none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.export.declined import Declined
from edgevit.export.onnx_passes.attention import (
    HEADS_FIRST,
    HEADS_LAST,
    Heads,
    find_heads,
    is_plain,
    normalises,
)
from edgevit.export.onnx_passes.editing import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    made_by,
    readers,
    replace,
    reshape,
    sole_reader,
    trained,
)
from edgevit.export.onnx_passes.rewriting import Rewrite


@dataclass(frozen=True)
class Found:
    """A layer of self-attention.

    Attributes:
        attention: the Softmax's output, B K N N.
        queries, keys, values: of the same tokens, equally many heads of equal width.
        output: the Gemm that puts heads together.
    """

    attention: ir.Value
    queries: Heads
    keys: Heads
    values: Heads
    output: ir.Node


def find_self_attention(node: ir.Node) -> Found | Declined | None:
    """Starts from Softmax over B K N N."""
    scores = made_by(node.inputs[0], "MatMul")
    attention = node.outputs[0]
    found_readers = readers(attention)
    if scores is None or not normalises(node) or not found_readers:
        return None
    if len(found_readers) > 1:
        return Declined("the attention is read by something else")
    mixed = found_readers[0]
    if mixed.op_type != "MatMul" or mixed.inputs[0] is not attention:
        return None
    found = (
        find_heads(scores.inputs[0], HEADS_FIRST),
        find_heads(scores.inputs[1], HEADS_LAST),
        find_heads(mixed.inputs[1], HEADS_FIRST),
    )
    for part in found:
        if not isinstance(part, Heads):
            return part
    queries, keys, values = (part for part in found if isinstance(part, Heads))
    if not (queries.rows is keys.rows is values.rows):
        return Declined("queries, keys and values are of different tokens")
    if not (queries.kernel.shape == keys.kernel.shape == values.kernel.shape):
        return Declined("queries, keys and values differ in width")
    if sole_reader(scores.outputs[0]) is None:
        return Declined("the scores are read by something else")
    output = _output_of(mixed, queries)
    if not isinstance(output, ir.Node):
        return output
    channels, depth, tokens = queries.channels, queries.depth, queries.tokens
    width = trained(output, 1).shape[1]
    # Multiply-accumulates of one head for one token; the scores and their mixing are 2 N.
    before = depth * (3 * channels + width + 2 * tokens)
    after = channels * (channels + width + 2 * tokens)
    if after >= before:
        return Declined("heads are narrower than tokens, which makes the products larger")
    return Found(attention, queries, keys, values, output)


def apply_self_attention(found: Found) -> None:
    """Four products in place of six, and no Transposes."""
    before, heads, channels = found.output, found.queries.heads, found.queries.channels
    tokens, rows = found.queries.tokens, found.queries.rows
    whole = dims(rows)[0]
    batch = None if whole is None else whole // tokens
    kernels = _fold_kernels(found)

    def dense(x: ir.Value, kernel: str, width: int | None) -> ir.Value:
        arrays = [(kernel, kernels[kernel]), (f"{kernel}_bias", kernels.get(f"{kernel}_bias"))]
        constants = [add_constant(before, part, role) for role, part in arrays if part is not None]
        return add_node(before, "Gemm", [x, *constants], (whole, width))

    queries = dense(rows, "queries", heads * channels)
    if batch == 1:
        queries = reshape(before, queries, (tokens * heads, channels))
        scores = add_node(before, "Gemm", [queries, rows], (tokens * heads, tokens), {"transB": 1})
        images = rows
    else:
        images = reshape(before, rows, (batch, tokens, channels))
        shape, swap = (batch, channels, tokens), {"perm": [0, 2, 1]}
        columns = add_node(before, "Transpose", [images], shape, swap)
        queries = reshape(before, queries, (batch, tokens * heads, channels))
        scores = add_node(before, "MatMul", [queries, columns], (batch, tokens * heads, tokens))
    attention = add_node(before, "Softmax", [scores], dims(scores), {"axis": -1})
    mixed = add_node(before, "MatMul", [attention, images], dims(queries))
    mixed = reshape(before, mixed, (whole, heads * channels))
    if found.attention.is_graph_output():
        by_query = reshape(before, attention, (batch, tokens, heads, tokens))
        full, order = (batch, heads, tokens, tokens), {"perm": HEADS_FIRST}
        replace(found.attention, add_node(before, "Transpose", [by_query], full, order))
    result = before.outputs[0]
    replace(result, dense(mixed, "output", dims(result)[-1]))


def _fold_kernels(found: Found) -> dict[str, np.ndarray]:
    """Each head's Wq Wk^T and Wv Wo, C K*C and K*C O, and what becomes of the biases if any."""
    gemm, kind = found.output, trained(found.output, 1).dtype
    query, key, value = (
        part.kernel.astype(np.float64) for part in (found.queries, found.keys, found.values)
    )  # C K D each
    channels, heads, depth = query.shape
    out = trained(gemm, 1).astype(np.float64).reshape(heads, depth, -1)  # K D O
    folded = {
        "queries": np.einsum("ckd,ekd->cke", query, key).reshape(channels, -1),
        "output": np.einsum("ckd,kdo->kco", value, out).reshape(heads * channels, -1),
    }
    if found.queries.bias is not None:
        bias = np.einsum("kd,ckd->kc", found.queries.bias.astype(np.float64), key)
        folded["queries_bias"] = bias.reshape(-1)
    biases = []
    if len(gemm.inputs) > 2 and gemm.inputs[2] is not None:
        biases.append(trained(gemm, 2).astype(np.float64))
    if found.values.bias is not None:
        biases.append(np.einsum("kd,kdo->o", found.values.bias.astype(np.float64), out))
    if biases:
        folded["output_bias"] = np.sum(biases, axis=0)
    return {role: array.astype(kind) for role, array in folded.items()}


def _output_of(mixed: ir.Node, queries: Heads) -> ir.Node | Declined | None:
    """The Gemm on B*N K*D behind the mixing, through a Transpose and a Reshape."""
    moved = sole_reader(mixed.outputs[0])
    if moved is None or moved.op_type != "Transpose":
        return None
    if tuple(attribute(moved, "perm", ())) != HEADS_FIRST:
        return None
    step = sole_reader(moved.outputs[0])
    gemm = sole_reader(step.outputs[0]) if step is not None and step.op_type == "Reshape" else None
    if step is None or gemm is None or gemm.op_type != "Gemm":
        return Declined("no Dense layer behind the heads")
    if gemm.inputs[0] is not step.outputs[0] or not is_plain(gemm):
        return Declined("the Gemm behind the heads scales or transposes")
    if any(constant(operand) is None for operand in gemm.inputs[1:]):
        return Declined("the Gemm behind the heads adds what is not constant")
    if trained(gemm, 1).shape[0] != queries.heads * queries.depth:
        return None
    if len(gemm.inputs) > 2 and trained(gemm, 2).ndim != 1:
        return Declined("the Gemm behind the heads adds more than one number a column")
    return gemm


attend_through_tokens = Rewrite(
    "attend_through_tokens", ("Softmax",), find_self_attention, apply_self_attention
)
