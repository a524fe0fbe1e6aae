"""Transposes that undo each other, or move nothing.

- two in a row become one, or none;
- one that moves only axes of length one is a Reshape, which copies nothing;
- one above an elementwise node moves below it where another Transpose waits there to meet it;
- two above the same sum or product, as between residual blocks of convolutions, become one below;
- one below a Pad moves above it, so that the Pad stands beside the convolution or pool it is for;
- one below a sum or product with a constant of few channels, the last axis, moves above it:
  onnxruntime's loops run over the last axis, and cost 12 ns for each of three numbers there that a
  vector of channels is added to, 116 us for a picture of 96x96 and 7 with channels first.
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


def find_below_channels(node: ir.Node) -> Found:
    """Starts from the Transpose."""
    above = operand(node, 0).producer()
    if above is None or above.op_type not in WITH_CONSTANT:
        return None
    arrays = [constant(value) for value in above.inputs]
    place = next((i for i, array in enumerate(arrays) if array is not None), None)
    x = None if place is None else above.inputs[1 - place]
    if place is None or x is None:
        return None
    before, after, vector = dims(x), dims(node.outputs[0]), arrays[place]
    assert vector is not None
    rank = len(_order(node))
    if len(before) != rank or vector.ndim > rank or vector.size != (vector.shape or (1,))[-1]:
        return Declined("the constant has other axes than channels")
    if vector.size == 1 or (before[-1] or 0) >= (after[-1] or 0):
        return Declined("the last axis is no longer behind the Transpose")
    if sole_reader(above.outputs[0]) is None:
        return Declined("something else reads the result")
    return partial(_raise_above, node, above, place, vector)


def _raise_above(node: ir.Node, above: ir.Node, place: int, vector: np.ndarray) -> None:
    """T(x + c) becomes T(x) + T(c)."""
    order, x, shape = _order(node), operand(above, 1 - place), dims(node.outputs[0])
    moved = add_node(node, "Transpose", [x], shape, {"perm": order})
    turned = vector.reshape((1,) * (len(order) - 1) + (vector.size,)).transpose(order)
    inputs: list[ir.Value | None] = [moved, moved]
    inputs[place] = add_constant(node, turned, "operand")
    result = node.outputs[0]
    value = add_node(node, above.op_type, inputs, shape, attributes_of(above), dtype=result.dtype)
    replace(result, value)


def find_raising(node: ir.Node) -> Found:
    """What the Transpose stands below decides."""
    return find_below_pad(node) or find_below_channels(node)


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
    "a Transpose below a Pad, or a constant of few channels, above it",
    ("Transpose",),
    find_raising,
)
