"""Self-attention whose heads are as wide as a token, without keys, values and Transposes.

What is computed instead: :mod:`edgevit.frontend.fold_attention`. onnxruntime 1.31 runs the
tutorial's ViT in 0.85 of the time on one AVX2 thread. A Transpose is left where the graph returns
the attention.

For float32: an 8-bit ONNX file needs ranges of tensors that Keras computes, and these are none of
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    made_by,
    optional,
    readers,
    replace,
    reshape,
    sole_reader,
    trained,
)
from edgevit.formats.onnx.writer.passes.attention import (
    Heads,
    find_heads,
    is_plain,
    normalises,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined
from edgevit.frontend.fold_attention import HEADS_FIRST, HEADS_LAST, AttentionKernels


@dataclass(frozen=True)
class SelfAttention:
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

    @property
    def kernels(self) -> AttentionKernels:
        """What the four Gemms hold."""
        return AttentionKernels(
            self.queries.kernel,
            self.keys.kernel,
            self.values.kernel,
            trained(self.output, 1).reshape(self.queries.heads, self.queries.depth, -1),
            self.queries.bias,
            self.values.bias,
            constant(optional(self.output, 2)),
        )


def find_self_attention(node: ir.Node) -> Found:
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
    parts = (
        find_heads(scores.inputs[0], HEADS_FIRST),
        find_heads(scores.inputs[1], HEADS_LAST),
        find_heads(mixed.inputs[1], HEADS_FIRST),
    )
    for part in parts:
        if not isinstance(part, Heads):
            return part
    queries, keys, values = (part for part in parts if isinstance(part, Heads))
    if not (queries.rows is keys.rows is values.rows):
        return Declined("queries, keys and values are of different tokens")
    if not (queries.kernel.shape == keys.kernel.shape == values.kernel.shape):
        return Declined("queries, keys and values differ in width")
    if sole_reader(scores.outputs[0]) is None:
        return Declined("the scores are read by something else")
    output = _output_of(mixed, queries)
    if not isinstance(output, ir.Node):
        return output
    found = SelfAttention(attention, queries, keys, values, output)
    if not found.kernels.pays(queries.tokens):
        return Declined("heads are narrower than tokens, which makes the products larger")
    return partial(_attend, found)


def _attend(found: SelfAttention) -> None:
    """Four products in place of six, and no Transposes."""
    before, heads, channels = found.output, found.queries.heads, found.queries.channels
    tokens, rows = found.queries.tokens, found.queries.rows
    whole = dims(rows)[0]
    batch = None if whole is None else whole // tokens
    kernels, kind = found.kernels.fold(), trained(before, 1).dtype

    def dense(x: ir.Value, role: str, kernel: np.ndarray, bias: np.ndarray | None) -> ir.Value:
        inputs = [x, add_constant(before, kernel.astype(kind), role)]
        if bias is not None:
            inputs.append(add_constant(before, bias.astype(kind), f"{role}_bias"))
        return add_node(before, "Gemm", inputs, (whole, kernel.shape[1]))

    queries = dense(rows, "queries", kernels.queries, kernels.queries_bias)
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
    result = dense(mixed, "output", kernels.output, kernels.output_bias)
    replace(before.outputs[0], result)


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


attend_through_tokens = rewrite_pass(
    "attend_through_tokens",
    "self-attention of heads as wide as tokens without keys and values",
    ("Softmax",),
    find_self_attention,
)
