"""Transposes that undo each other, or move nothing.

- two in a row become one, or none;
- one that moves only axes of length one is a Reshape, which copies nothing;
- one above an elementwise node moves below it where another Transpose waits there to meet it;
- two above the same sum or product, as between residual blocks of convolutions, become one below;
- one below a Pad moves above it, so that the Pad stands beside the convolution or pool it is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
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
from edgevit.formats.onnx.writer.passes.rewriting import rewrite_pass
from edgevit.formats.passes import Declined

UNARY = ("Gelu", "Relu", "Sigmoid", "Tanh", "Erf", "Sqrt", "Neg", "Exp", "Abs", "Clip", "Cast")
WITH_CONSTANT = ("Add", "Mul", "Sub", "Div")


@dataclass(frozen=True)
class FoundPair:
    """A Transpose behind another, and the permutation of both."""

    node: ir.Node
    x: ir.Value
    order: tuple[int, ...]


def find_pair(node: ir.Node) -> FoundPair | Declined | None:
    """Starts from the second Transpose, or from any that moves nothing."""
    order = tuple(attribute(node, "perm", ()))
    x = node.inputs[0]
    assert x is not None
    before = made_by(x, "Transpose")
    if before is not None and before.inputs[0] is not None:
        first = tuple(attribute(before, "perm", ()))
        return FoundPair(node, before.inputs[0], tuple(first[axis] for axis in order))
    if order == tuple(range(len(order))) or _moves_nothing(order, dims(x)):
        return FoundPair(node, x, order)
    return None


def apply_pair(found: FoundPair) -> None:
    """One Transpose, a Reshape, or nothing."""
    node, x, order = found.node, found.x, found.order
    shape = dims(node.outputs[0])
    if order == tuple(range(len(order))):
        replace(node.outputs[0], x)
    elif _moves_nothing(order, dims(x)) and sum(length is None for length in shape) < 2:
        replace(node.outputs[0], reshape(node, x, shape))
    else:
        replace(node.outputs[0], add_node(node, "Transpose", [x], shape, {"perm": order}))


@dataclass(frozen=True)
class FoundAbove:
    """An elementwise node between two Transposes."""

    node: ir.Node
    place: int
    transpose: ir.Node


def find_above(node: ir.Node) -> FoundAbove | Declined | None:
    """Starts from the elementwise node."""
    places = [i for i, value in enumerate(node.inputs) if made_by(value, "Transpose")]
    if not places or not any(use.op_type == "Transpose" for use in readers(node.outputs[0])):
        return None
    transpose = made_by(node.inputs[places[0]], "Transpose")
    assert transpose is not None
    if node.op_type in WITH_CONSTANT:
        rank = len(dims(node.outputs[0]))
        other = constant(node.inputs[1 - places[0]])
        if other is None:
            return Declined("the other operand is not constant")
        if rank != len(dims(node.inputs[places[0]])) or other.ndim > rank:
            return Declined("the other operand adds an axis")
    order = tuple(attribute(transpose, "perm", ()))
    wanted = _inverse(order)
    if not any(
        use.op_type == "Transpose" and tuple(attribute(use, "perm", ())) == wanted
        for use in readers(node.outputs[0])
    ):
        return Declined("the Transpose below is not the inverse")
    return FoundAbove(node, places[0], transpose)


def apply_above(found: FoundAbove) -> None:
    """f(T(x)) becomes T(f(x))."""
    node, transpose = found.node, found.transpose
    order = tuple(attribute(transpose, "perm", ()))
    inputs = list(node.inputs)
    x = transpose.inputs[0]
    assert x is not None
    inputs[found.place] = x
    if node.op_type in WITH_CONSTANT:
        other = constant(node.inputs[1 - found.place])
        assert other is not None
        full = other.reshape((1,) * (len(order) - other.ndim) + other.shape)
        moved = full.transpose(_inverse(order)) if other.size > 1 else other.reshape(())
        inputs[1 - found.place] = add_constant(node, moved, "operand")
    attributes = {key: item.value for key, item in node.attributes.items()}
    value = add_node(node, node.op_type, inputs, dims(x), attributes, dtype=node.outputs[0].dtype)
    shape = dims(node.outputs[0])
    replace(node.outputs[0], add_node(node, "Transpose", [value], shape, {"perm": order}))


@dataclass(frozen=True)
class FoundBoth:
    """An elementwise node of two Transposes with one permutation, and what they transpose."""

    node: ir.Node
    inputs: tuple[ir.Value, ir.Value]
    order: tuple[int, ...]


def find_both(node: ir.Node) -> FoundBoth | Declined | None:
    """Starts from the elementwise node."""
    first, second = (made_by(value, "Transpose") for value in node.inputs)
    assert first is not None
    assert second is not None
    if first is second:
        return Declined("both operands are the same")
    order = tuple(attribute(first, "perm", ()))
    if tuple(attribute(second, "perm", ())) != order:
        return Declined("the permutations differ")
    left, right = first.inputs[0], second.inputs[0]
    assert left is not None
    assert right is not None
    if dims(left) != dims(right) or None in dims(left):
        return Declined("one operand is broadcast over the other")
    if not any(sole_reader(transpose.outputs[0]) for transpose in (first, second)):
        return Declined("both Transposes are read elsewhere, so both would stay")
    return FoundBoth(node, (left, right), order)


def apply_both(found: FoundBoth) -> None:
    """f(T(x), T(y)) becomes T(f(x, y))."""
    node, inputs = found.node, list(found.inputs)
    value = add_node(node, node.op_type, inputs, dims(inputs[0]), dtype=node.outputs[0].dtype)
    shape = dims(node.outputs[0])
    moved = add_node(node, "Transpose", [value], shape, {"perm": found.order})
    replace(node.outputs[0], moved)


def find_sinking(node: ir.Node) -> FoundAbove | FoundBoth | Declined | None:
    """Both in one rewrite: what one of them moves down may be what the other one meets."""
    above = [made_by(value, "Transpose") for value in node.inputs]
    return find_both(node) if len(above) == 2 and all(above) else find_above(node)


def apply_sinking(found: FoundAbove | FoundBoth) -> None:
    """Below the elementwise node."""
    if isinstance(found, FoundBoth):
        apply_both(found)
    else:
        apply_above(found)


def find_below_pad(node: ir.Node) -> ir.Node | Declined | None:
    """Starts from the Transpose."""
    pad = made_by(node.inputs[0], "Pad")
    if pad is None:
        return None
    if sole_reader(pad.outputs[0]) is None:
        return Declined("something else reads the padded values")
    widths = constant(pad.inputs[1])
    if widths is None or len(pad.inputs) > 3 or len(widths) != 2 * len(attribute(node, "perm")):
        return Declined("the widths are not constant, or not for all axes")
    return node


def apply_below_pad(node: ir.Node) -> None:
    """T(Pad(x)) becomes Pad(T(x))."""
    pad = made_by(node.inputs[0], "Pad")
    assert pad is not None
    order = tuple(attribute(node, "perm"))
    widths, x = trained(pad, 1), pad.inputs[0]
    assert x is not None
    shape = tuple(dims(x)[axis] for axis in order)
    moved = add_node(node, "Transpose", [x], shape, {"perm": order})
    pairs = widths.reshape(2, -1)[:, list(order)].reshape(-1)
    inputs = [moved, add_constant(node, pairs, "pads"), *pad.inputs[2:]]
    attributes = {key: item.value for key, item in pad.attributes.items()}
    replace(node.outputs[0], add_node(node, "Pad", inputs, dims(node.outputs[0]), attributes))


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
    apply_pair,
)
sink_transposes = rewrite_pass(
    "sink_transposes",
    "Transposes below elementwise nodes, where they meet others",
    (*UNARY, *WITH_CONSTANT),
    find_sinking,
    apply_sinking,
)
raise_transposes = rewrite_pass(
    "raise_transposes",
    "a Transpose below a Pad above it",
    ("Transpose",),
    find_below_pad,
    apply_below_pad,
)
