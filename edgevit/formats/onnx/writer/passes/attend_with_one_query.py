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

from functools import partial

import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    dims,
    made_by,
    operand,
    replace,
    reshape,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.attention import (
    Heads,
    find_heads,
    normalises,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined
from edgevit.frontend.fold_attention import HEADS_FIRST, HEADS_LAST


def find_scores(node: ir.Node) -> Found:
    """Starts from MatMul: B K 1 D with B K D N."""
    if not _one_row(node):
        return None
    keys = find_heads(node.inputs[1], HEADS_LAST)
    if not isinstance(keys, Heads):
        return keys
    after = sole_reader(node.outputs[0])
    if after is None or not normalises(after):
        return Declined("no softmax behind it, so the keys' bias counts")
    return partial(_ask, node, keys)


def find_result(node: ir.Node) -> Found:
    """Starts from MatMul: B K 1 N with B K N D."""
    if not _one_row(node):
        return None
    moved = made_by(node.inputs[1], "Transpose")
    if moved is None and dims(node.inputs[1])[1:2] != (1,):
        return None
    values = find_heads(node.inputs[1], HEADS_FIRST if moved is not None else None)
    if not isinstance(values, Heads):
        return values
    before = made_by(node.inputs[0], "Softmax")
    if before is None or not normalises(before):
        return Declined("no softmax before it, so the values' bias is not added once")
    return partial(_mix, node, values)


def _ask(node: ir.Node, keys: Heads) -> None:
    """The query goes through the kernel, then meets the tokens as they are."""
    heads, depth, channels, tokens = keys.heads, keys.depth, keys.channels, keys.tokens
    query = operand(node, 0)
    batch = dims(query)[0]
    kernel = keys.kernel.transpose(1, 2, 0)  # K D C
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
    scores = add_node(node, "MatMul", [_tokens(node, keys), columns], (batch, tokens, heads))
    if heads > 1:
        scores = _swap(node, scores, (batch, heads, tokens))
    replace(node.outputs[0], reshape(node, scores, dims(node.outputs[0])))


def _mix(node: ir.Node, values: Heads) -> None:
    """The attention gathers tokens as they are; one row goes through the kernel."""
    heads, depth, channels, tokens = values.heads, values.depth, values.channels, values.tokens
    attention = operand(node, 0)
    batch = dims(attention)[0]
    bias = values.bias
    weights = reshape(node, attention, (batch, heads, tokens))
    mixed = add_node(node, "MatMul", [weights, _tokens(node, values)], (batch, heads, channels))
    kernel = values.kernel.transpose(1, 0, 2)  # K C D
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


def _one_row(node: ir.Node) -> bool:
    """Whether the first factor is B K 1 and anything."""
    shape = dims(node.inputs[0])
    return len(shape) == 4 and shape[2] == 1 and None not in shape[1:]


def _tokens(node: ir.Node, of: Heads) -> ir.Value:
    """B N C, what the Dense layer reads."""
    return reshape(node, of.rows, (dims(node.inputs[0])[0], of.tokens, of.channels))


def _swap(before: ir.Node, value: ir.Value, shape: tuple[int | None, ...]) -> ir.Value:
    """The last two of three axes change places."""
    return add_node(before, "Transpose", [value], shape, {"perm": [0, 2, 1]})


ask_tokens = rewrite_pass(
    "ask_tokens", "scores of a single query without keys", ("MatMul",), find_scores
)
mix_tokens = rewrite_pass(
    "mix_tokens",
    "the result of a single query without values",
    ("MatMul",),
    find_result,
)
