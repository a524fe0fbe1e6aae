"""Attention of a single query without keys and values.

A class token asks all N tokens at once. Keys and values of the tokens, X Wk and X Wv, are two
products of N rows; with one query they need not exist:

- scores: ``q (X Wk)^T = (q Wk^T) X^T``. One row is multiplied by the kernel instead of N.
- result: ``a (X Wv) = (a X) Wv``, likewise.

The keys' bias adds the same number to all scores of a head, which a softmax ignores; the values'
bias is added once, since what a softmax returns sums to one. Heads are blocks of the kernels.
Exact up to rounding; the attention itself stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.export.declined import Declined
from edgevit.export.onnx_passes.editing import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    made_by,
    replace,
    reshape,
    sole_reader,
    trained,
)
from edgevit.export.onnx_passes.rewriting import Rewrite

HEADS_LAST, HEADS_FIRST = (0, 2, 3, 1), (0, 2, 1, 3)  # B N K D -> B K D N, B K N D


@dataclass(frozen=True)
class Found:
    """A product of one query, or of its attention, with what a Dense layer makes of the tokens.

    Attributes:
        node: the MatMul.
        dense: the Gemm of keys or values, on rows B*N C.
        tokens: N.
        heads: K.
        depth: D, width of a head.
    """

    node: ir.Node
    dense: ir.Node
    tokens: int
    heads: int
    depth: int

    @property
    def channels(self) -> int:
        """C, width of a token."""
        return trained(self.dense, 1).shape[0]

    @property
    def kernel(self) -> np.ndarray:
        """C K D."""
        return trained(self.dense, 1).reshape(self.channels, self.heads, self.depth)


def find_scores(node: ir.Node) -> Found | Declined | None:
    """Starts from MatMul: B K 1 D with B K D N."""
    step = made_by(node.inputs[1], "Transpose")
    if not _one_row(node) or step is None or _order(step) != HEADS_LAST:
        return None
    found = _find_dense(node, step)
    if isinstance(found, Found):
        after = sole_reader(node.outputs[0])
        if after is None or not _normalises(after):
            return Declined("no softmax behind it, so the keys' bias counts")
    return found


def find_result(node: ir.Node) -> Found | Declined | None:
    """Starts from MatMul: B K 1 N with B K N D."""
    if not _one_row(node):
        return None
    step = made_by(node.inputs[1], "Transpose")
    if step is not None and _order(step) != HEADS_FIRST:
        return None
    if step is None and dims(node.inputs[1])[1:2] != (1,):
        return None
    found = _find_dense(node, step)
    if isinstance(found, Found):
        before = made_by(node.inputs[0], "Softmax")
        if before is None or not _normalises(before):
            return Declined("no softmax before it, so the values' bias is not added once")
    return found


def apply_scores(found: Found) -> None:
    """The query goes through the kernel, then meets the tokens as they are."""
    node, heads, depth, channels = found.node, found.heads, found.depth, found.channels
    query = node.inputs[0]
    assert query is not None
    batch = dims(query)[0]
    kernel = found.kernel.transpose(1, 2, 0)  # K D C
    if heads == 1:
        row = reshape(node, query, (batch, depth))
        row = add_node(
            node, "Gemm", [row, add_constant(node, kernel[0], "kernel")], (batch, channels)
        )
        columns = reshape(node, row, (batch, channels, 1))  # B C 1
    else:
        weights = add_constant(node, kernel, "kernel")
        row = add_node(node, "MatMul", [query, weights], (batch, heads, 1, channels))
        row = reshape(node, row, (batch, heads, channels))
        columns = _swap(node, row, (batch, channels, heads))  # B C K
    scores = add_node(node, "MatMul", [_tokens(found), columns], (batch, found.tokens, heads))
    if heads > 1:
        scores = _swap(node, scores, (batch, heads, found.tokens))
    replace(node.outputs[0], reshape(node, scores, dims(node.outputs[0])))


def apply_result(found: Found) -> None:
    """The attention gathers tokens as they are; one row goes through the kernel."""
    node, heads, depth, channels = found.node, found.heads, found.depth, found.channels
    attention = node.inputs[0]
    assert attention is not None
    batch = dims(attention)[0]
    bias = trained(found.dense, 2) if len(found.dense.inputs) > 2 else None
    weights = reshape(node, attention, (batch, heads, found.tokens))
    mixed = add_node(node, "MatMul", [weights, _tokens(found)], (batch, heads, channels))
    kernel = found.kernel.transpose(1, 0, 2)  # K C D
    if heads == 1:
        inputs = [
            reshape(node, mixed, (batch, channels)),
            add_constant(node, kernel[0], "kernel"),
        ]
        if bias is not None:
            inputs.append(add_constant(node, bias.reshape(-1), "bias"))
        result = add_node(node, "Gemm", inputs, (batch, depth))
    else:
        rows = reshape(node, mixed, (batch, heads, 1, channels))
        shape = (batch, heads, 1, depth)
        result = add_node(node, "MatMul", [rows, add_constant(node, kernel, "kernel")], shape)
        if bias is not None:
            heads_bias = add_constant(node, bias.reshape(heads, 1, depth), "bias")
            result = add_node(node, "Add", [result, heads_bias], shape)
    replace(node.outputs[0], reshape(node, result, dims(node.outputs[0])))


def _order(transpose: ir.Node) -> tuple[int, ...]:
    return tuple(attribute(transpose, "perm", ()))


def _one_row(node: ir.Node) -> bool:
    """Whether the first factor is B K 1 and anything."""
    shape = dims(node.inputs[0])
    return len(shape) == 4 and shape[2] == 1 and None not in shape[1:]


def _normalises(node: ir.Node) -> bool:
    """A softmax over the last axis."""
    rank = len(dims(node.inputs[0]))
    return node.op_type == "Softmax" and attribute(node, "axis", -1) in (-1, rank - 1)


def _find_dense(node: ir.Node, step: ir.Node | None) -> Found | Declined | None:
    """The Gemm behind keys or values: through a Reshape, and a Transpose where there is one."""
    step = made_by((step or node).inputs[0 if step else 1], "Reshape")
    dense = made_by(step.inputs[0], "Gemm") if step is not None else None
    if step is None or dense is None:
        return None
    shape = dims(step.outputs[0])
    if len(shape) != 4 or None in shape[1:]:
        return Declined("the number of tokens is not fixed")
    tokens, heads, depth = (int(length or 0) for length in shape[1:])
    if dims(node.inputs[1]) == shape:  # one head: B 1 N D without a Transpose
        tokens, heads = heads, tokens
    if any(constant(value) is None for value in dense.inputs[1:]):
        return Declined("the weights are not constant")
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    if any(attribute(dense, name, value) != value for name, value in plain.items()):
        return Declined("the Gemm scales or transposes")
    if trained(dense, 1).shape[1] != heads * depth or tokens == 1:
        return None
    if len(dense.inputs) > 2 and trained(dense, 2).size != heads * depth:
        return Declined("the bias is not one number a column")
    for inner in (dense, step, made_by(node.inputs[1], "Transpose")):
        if inner is not None and sole_reader(inner.outputs[0]) is None:
            return Declined("keys or values are read by something else")
    return Found(node, dense, tokens, heads, depth)


def _tokens(found: Found) -> ir.Value:
    """B N C, what the Dense layer reads."""
    rows = found.dense.inputs[0]
    assert rows is not None
    batch = dims(found.node.inputs[0])[0]
    return reshape(found.node, rows, (batch, found.tokens, found.channels))


def _swap(before: ir.Node, value: ir.Value, shape: tuple[int | None, ...]) -> ir.Value:
    """The last two of three axes change places."""
    return add_node(before, "Transpose", [value], shape, {"perm": [0, 2, 1]})


ask_tokens = Rewrite("ask_tokens", ("MatMul",), find_scores, apply_scores)
mix_tokens = Rewrite("mix_tokens", ("MatMul",), find_result, apply_result)
