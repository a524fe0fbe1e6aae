"""Transposes that undo each other, or move nothing.

- two in a row become one, or none;
- one that moves only axes of length one is a Reshape, which copies nothing;
- one above an elementwise node moves below it where another Transpose waits there to meet it;
- two above the same sum or product, as between residual blocks of convolutions, become one below;
- one below a Pad moves above it, so that the Pad stands beside the convolution or pool it is for.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    attributes_of,
    constant,
    dims,
    made_by,
    operand,
    readers,
    replace,
    reshape,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

UNARY = ("Gelu", "Relu", "Sigmoid", "Tanh", "Erf", "Sqrt", "Neg", "Exp", "Abs", "Clip", "Cast")
WITH_CONSTANT = ("Add", "Mul", "Sub", "Div")


def find_pair(node: ir.Node) -> Found:
    """Starts from the second Transpose, or from any that moves nothing."""
    order = _order(node)
    x = operand(node, 0)
    before = made_by(x, "Transpose")
    if before is not None:
        first = _order(before)
        return partial(_merge, node, operand(before, 0), tuple(first[axis] for axis in order))
    if order == tuple(range(len(order))) or _moves_nothing(order, dims(x)):
        return partial(_merge, node, x, order)
    return None


def _merge(node: ir.Node, x: ir.Value, order: tuple[int, ...]) -> None:
    """One Transpose, a Reshape, or nothing."""
    shape = dims(node.outputs[0])
    if order == tuple(range(len(order))):
        replace(node.outputs[0], x)
    elif _moves_nothing(order, dims(x)) and sum(length is None for length in shape) < 2:
        replace(node.outputs[0], reshape(node, x, shape))
    else:
        replace(node.outputs[0], add_node(node, "Transpose", [x], shape, {"perm": order}))


def find_sinking(node: ir.Node) -> Found:
    """Both in one rewrite: what one of them moves down may be what the other one meets."""
    above = [made_by(value, "Transpose") for value in node.inputs]
    first, *others = above
    if first is not None and len(others) == 1 and others[0] is not None:
        return _find_both(node, first, others[0])
    return _find_above(node, above)


def _find_above(node: ir.Node, above: list[ir.Node | None]) -> Found:
    """An elementwise node between two Transposes."""
    place = next((i for i, transpose in enumerate(above) if transpose is not None), None)
    transpose = None if place is None else above[place]
    if place is None or transpose is None:
        return None
    if not any(use.op_type == "Transpose" for use in readers(node.outputs[0])):
        return None
    order, operands = _order(transpose), list(node.inputs)
    operands[place] = transpose.inputs[0]
    other = None
    if node.op_type in WITH_CONSTANT:
        rank = len(dims(node.outputs[0]))
        other = constant(node.inputs[1 - place])
        if other is None:
            return Declined("the other operand is not constant")
        if rank != len(dims(node.inputs[place])) or other.ndim > rank:
            return Declined("the other operand adds an axis")
        full = other.reshape((1,) * (len(order) - other.ndim) + other.shape)
        other = full.transpose(_inverse(order)) if other.size > 1 else other.reshape(1)
    if not any(
        use.op_type == "Transpose" and _order(use) == _inverse(order)
        for use in readers(node.outputs[0])
    ):
        return Declined("the Transpose below is not the inverse")

    def sink() -> None:
        if other is not None:
            operands[1 - place] = add_constant(node, other, "operand")
        _sink(node, operands, dims(transpose.inputs[0]), order)

    return sink


def _find_both(node: ir.Node, first: ir.Node, second: ir.Node) -> Found:
    """An elementwise node of two Transposes with one permutation."""
    if first is second:
        return Declined("both operands are the same")
    if _order(first) != _order(second):
        return Declined("the permutations differ")
    operands = [first.inputs[0], second.inputs[0]]
    shape = dims(operands[0])
    if shape != dims(operands[1]) or None in shape:
        return Declined("one operand is broadcast over the other")
    if not any(sole_reader(transpose.outputs[0]) for transpose in (first, second)):
        return Declined("both Transposes are read elsewhere, so both would stay")
    return partial(_sink, node, operands, shape, _order(first))


def _sink(
    node: ir.Node,
    operands: list[ir.Value | None],
    shape: tuple[int | None, ...],
    order: tuple[int, ...],
) -> None:
    """f(T(x), ...) becomes T(f(x, ...)): the operands are those before the Transposes."""
    result = node.outputs[0]
    value = add_node(node, node.op_type, operands, shape, attributes_of(node), dtype=result.dtype)
    replace(result, add_node(node, "Transpose", [value], dims(result), {"perm": order}))


def find_below_pad(node: ir.Node) -> Found:
    """Starts from the Transpose."""
    pad = made_by(node.inputs[0], "Pad")
    if pad is None:
        return None
    if sole_reader(pad.outputs[0]) is None:
        return Declined("something else reads the padded values")
    widths = constant(pad.inputs[1])
    if widths is None or len(pad.inputs) > 3 or len(widths) != 2 * len(_order(node)):
        return Declined("the widths are not constant, or not for all axes")
    return partial(_raise, node, pad, widths)


def _raise(node: ir.Node, pad: ir.Node, widths: np.ndarray) -> None:
    """T(Pad(x)) becomes Pad(T(x))."""
    order, x = _order(node), operand(pad, 0)
    shape = tuple(dims(x)[axis] for axis in order)
    moved = add_node(node, "Transpose", [x], shape, {"perm": order})
    pairs = widths.reshape(2, -1)[:, list(order)].reshape(-1)
    inputs = [moved, add_constant(node, pairs, "pads"), *pad.inputs[2:]]
    result = add_node(node, "Pad", inputs, dims(node.outputs[0]), attributes_of(pad))
    replace(node.outputs[0], result)


def _order(transpose: ir.Node) -> tuple[int, ...]:
    return tuple(attribute(transpose, "perm", ()))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.argsort(order))


def _moves_nothing(order: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    """Whether the axes longer than one keep their order."""
    kept = [axis for axis in order if axis < len(shape) and shape[axis] != 1]
    return bool(shape) and kept == sorted(kept)


cancel_transposes = rewrite_pass(
    "cancel_transposes",
    "one Transpose for two in a row, a Reshape for one that moves nothing",
    ("Transpose",),
    find_pair,
)
sink_transposes = rewrite_pass(
    "sink_transposes",
    "Transposes below elementwise nodes, where they meet others",
    (*UNARY, *WITH_CONSTANT),
    find_sinking,
)
raise_transposes = rewrite_pass(
    "raise_transposes",
    "a Transpose below a Pad above it",
    ("Transpose",),
    find_below_pad,
)
