"""Slices and pads along constant bounds, in the fewest nodes.

A shifted group of channels is cut out, padded, and cut again. A Slice of a Slice is one Slice; a
Slice of a Pad is a Pad of less, negative where it takes away; and Slices that cut a value into
consecutive parts are one Split.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    add_split,
    attribute,
    constant,
    dims,
    graph_of,
    made_by,
    operand,
    readers,
    replace,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

Bounds = dict[int, tuple[int, int]]


def find_cut(node: ir.Node) -> Found:
    """Starts from a Slice of a Slice, or of a Pad."""
    before = made_by(node.inputs[0], "Slice", "Pad")
    if before is None:
        return None
    bounds = read_bounds(node)
    if bounds is None:
        return Declined("its bounds are not constant, or it takes steps")
    if before.op_type == "Slice":
        inner = read_bounds(before)
        if inner is None:
            return Declined("the bounds of the Slice before are not constant, or it takes steps")
        return partial(_cut_once, node, operand(before, 0), inner, bounds)
    pads = read_pads(before)
    if pads is None:
        return Declined("the Pad before is not of a constant, or of constant widths")
    shape = dims(before.inputs[0])
    for axis, (start, stop) in bounds.items():
        length = shape[axis]
        low, high = pads[axis]
        if (low or high) and (length is None or max(start, low) >= min(stop, low + length)):
            return Declined("it takes nothing but padding")
    return partial(_pad_less, node, before, pads, bounds)


def _cut_once(node: ir.Node, x: ir.Value, inner: Bounds, outer: Bounds) -> None:
    """One Slice."""
    bounds = dict(inner)
    for axis, (start, stop) in outer.items():
        low = inner[axis][0] if axis in inner else 0
        bounds[axis] = (low + start, low + stop)
    replace(node.outputs[0], add_slice(node, x, bounds, dims(node.outputs[0])))


def _pad_less(node: ir.Node, pad: ir.Node, pads: list[tuple[int, int]], bounds: Bounds) -> None:
    """A Slice of the axes that are not padded and a Pad of the others."""
    x = operand(pad, 0)
    kept = {axis: cut for axis, cut in bounds.items() if pads[axis] == (0, 0)}
    shape = list(dims(x))
    for axis, (start, stop) in kept.items():
        shape[axis] = stop - start
    if kept:
        x = add_slice(node, x, kept, shape)
    widths = []
    for axis, (low, high) in enumerate(pads):
        if axis in bounds and axis not in kept:
            start, stop = bounds[axis]
            low, high = low - start, high - ((shape[axis] or 0) + low + high - stop)
        widths.append((low, high))
    flat = [low for low, _ in widths] + [high for _, high in widths]
    inputs = [x, add_constant(node, np.array(flat, np.int64), "pads"), *pad.inputs[2:3]]
    replace(node.outputs[0], add_node(node, "Pad", inputs, dims(node.outputs[0])))


def find_parts(node: ir.Node) -> Found:
    """Starts from the Slice that takes the first part."""
    value = operand(node, 0)
    own = read_bounds(node)
    if own is None or len(own) != 1 or next(iter(own.values()))[0] != 0:
        return None
    axis = next(iter(own))
    length = dims(value)[axis]
    parts: dict[int, tuple[int, ir.Node]] = {}
    for use in readers(value):
        bounds = read_bounds(use) if use.op_type == "Slice" else None
        if bounds is not None and list(bounds) == [axis]:
            start, stop = bounds[axis]
            parts[start] = (stop, use)
    chosen, place = [], 0
    while place in parts and place != length:
        stop, use = parts[place]
        chosen.append((stop - place, use))
        place = stop
    if place != length or len(chosen) < 2:
        return Declined("the parts do not add up to the whole") if len(parts) > 1 else None
    return partial(_join, axis, chosen)


def _join(axis: int, parts: list[tuple[int, ir.Node]]) -> None:
    """One Split in front of the first of the Slices: (length, Slice), in the order of the axis."""
    nodes = [node for _, node in parts]
    first = min(nodes, key=list(graph_of(nodes[0])).index)
    lengths = np.array([length for length, _ in parts], np.int64)
    inputs = [operand(first, 0), add_constant(first, lengths, "lengths")]
    shapes = [dims(node.outputs[0]) for node in nodes]
    for node, output in zip(nodes, add_split(first, inputs, axis, shapes), strict=True):
        replace(node.outputs[0], output)


def read_bounds(node: ir.Node) -> Bounds | None:
    """Axis -> (start, stop) within its length, of a Slice with constant bounds and steps of one.

    Axes that are taken whole are left out.
    """
    arrays = [constant(value) if value is not None else None for value in node.inputs[1:]]
    if len(arrays) < 2 or arrays[0] is None or arrays[1] is None:
        return None
    shape = dims(node.inputs[0])
    starts, stops = arrays[0].tolist(), arrays[1].tolist()
    axes = arrays[2].tolist() if len(arrays) > 2 and arrays[2] is not None else range(len(starts))
    if len(arrays) > 3 and arrays[3] is not None and any(step != 1 for step in arrays[3].tolist()):
        return None
    bounds: Bounds = {}
    for start, stop, axis in zip(starts, stops, axes, strict=True):
        axis = axis % len(shape)
        length = shape[axis]
        if length is None:
            if start == 0 and stop >= 2**31 - 1:
                continue
            return None
        start, stop, _ = slice(start, stop).indices(length)
        if (start, stop) != (0, length):
            bounds[axis] = (start, stop)
    return bounds


def read_pads(node: ir.Node) -> list[tuple[int, int]] | None:
    """(before, after) for each axis, of a Pad with a constant and constant widths."""
    if attribute(node, "mode", "constant") != "constant" or len(node.inputs) > 3:
        return None
    pads = constant(node.inputs[1])
    if pads is None:
        return None
    half = len(pads) // 2
    return [(int(pads[axis]), int(pads[axis + half])) for axis in range(half)]


def add_slice(
    before: ir.Node, x: ir.Value, bounds: Bounds, shape: Sequence[int | None]
) -> ir.Value:
    """A Slice in front of a node. bounds: axis -> (start, stop); shape: of the result."""
    axes = sorted(bounds)
    columns = (
        ("starts", [bounds[axis][0] for axis in axes]),
        ("stops", [bounds[axis][1] for axis in axes]),
        ("axes", axes),
    )
    inputs = [add_constant(before, np.array(row, np.int64), role) for role, row in columns]
    return add_node(before, "Slice", [x, *inputs], shape)


merge_slices = rewrite_pass(
    "merge_slices", "a Slice of a Slice or Pad as one of them", ("Slice",), find_cut
)
join_slices = rewrite_pass(
    "join_slices", "Slices of consecutive parts as one Split", ("Slice",), find_parts
)
