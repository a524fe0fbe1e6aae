"""Operators over fewer axes, exactly: TensorFlow Lite Micro moves values along few.

Its TRANSPOSE takes five axes and its STRIDED_SLICE four. Axes that stay side by side, and those
that are taken whole, are one axis to either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph

MOST = {"TRANSPOSE": 5, "STRIDED_SLICE": 4}  # axes


def merge_axes(graph: TfliteGraph, operator: Any) -> list[Any] | None:
    """RESHAPE, the operator over fewer axes, RESHAPE.

    Args:
        graph: of a fixed batch; tensors and constants are added.
        operator: one of MOST.

    Returns:
        What takes its place; None where it has few axes already, or cannot have fewer.
    """
    kind = graph.kind(operator)
    x, y = int(operator.inputs[0]), int(operator.outputs[0])
    if len(graph.shape(x)) <= MOST[kind]:
        return None
    found = {"TRANSPOSE": _merge_turned, "STRIDED_SLICE": _merge_cut}[kind](graph, operator)
    if found is None:
        return None
    sizes, result, constants, options = found
    if len(sizes) > MOST[kind]:
        return None
    source, made = (_like(graph, y, x, shape) for shape in (sizes, result))
    stored = [
        graph.add_near(y, "axes", (len(values),), "int32", np.array(values, np.int32))
        for values in constants
    ]
    return [
        graph.make_reshape(x, source, y),
        graph.make_int8(kind, [source, *stored], [made], *options),
        graph.make_reshape(made, y, y),
    ]


Found = tuple[Sequence[int], Sequence[int], Sequence[Sequence[int]], Sequence[str]]


def _merge_turned(graph: TfliteGraph, operator: Any) -> Found | None:
    order = graph.constant_input(operator, 1)
    if order is None:
        return None
    sizes, turned = merge_order(graph.shape(int(operator.inputs[0])), [int(a) for a in order])
    return sizes, [sizes[axis] for axis in turned], [turned], ("TransposeOptions",)


def _merge_cut(graph: TfliteGraph, operator: Any) -> Found | None:
    bounds = [graph.constant_input(operator, place) for place in (1, 2, 3)]
    options = operator.builtinOptions
    if any(side is None for side in bounds) or options.ellipsisMask or options.newAxisMask:
        return None
    shape = graph.shape(int(operator.inputs[0]))
    cuts = []
    for axis, size in enumerate(shape):
        start, stop, step = (int(side[axis]) for side in bounds if side is not None)
        if step < 1:
            return None
        cut = slice(
            None if options.beginMask >> axis & 1 else start,
            None if options.endMask >> axis & 1 else stop,
            step,
        )
        if options.shrinkAxisMask >> axis & 1:
            start += size * (start < 0)
            cut = slice(start, start + 1, 1)
        cuts.append(range(*cut.indices(size)))
    sizes, merged = merge_whole(shape, cuts)
    sides = [[cut.start for cut in merged], [cut.stop for cut in merged]]
    steps = [cut.step for cut in merged]
    return sizes, [len(cut) for cut in merged], [*sides, steps], ("StridedSliceOptions",)


def merge_order(shape: Sequence[int], order: Sequence[int]) -> tuple[list[int], list[int]]:
    """Sizes and order of a transposition over as few axes as it can have.

    >>> merge_order((1, 4, 6, 2, 2, 3), (0, 1, 3, 2, 4, 5))
    ([4, 6, 2, 6], [0, 2, 1, 3])
    """
    groups: list[list[int]] = []
    for axis in (axis for axis in order if shape[axis] > 1):
        between = range(groups[-1][-1] + 1, axis) if groups else range(0)
        follows = groups and axis > groups[-1][-1] and all(shape[other] == 1 for other in between)
        if follows:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    placed = sorted(groups)
    sizes = [int(np.prod([shape[axis] for axis in group])) for group in placed]
    return sizes or [1], [placed.index(group) for group in groups] or [0]


def merge_whole(shape: Sequence[int], cuts: Sequence[range]) -> tuple[list[int], list[range]]:
    """Sizes and cuts of a slice, axes that are taken whole and stand side by side as one.

    >>> merge_whole((2, 6, 4, 4), (range(2), range(3, 4), range(4), range(4)))
    ([2, 6, 16], [range(0, 2), range(3, 4), range(0, 16)])
    """
    sizes: list[int] = []
    merged: list[range] = []
    whole = False
    for size, cut in zip(shape, cuts, strict=True):
        again, whole = whole, cut == range(size)
        if whole and again:
            sizes[-1] *= size
            merged[-1] = range(sizes[-1])
        else:
            sizes.append(size)
            merged.append(cut)
    return sizes, merged


def _like(graph: TfliteGraph, near: int, tensor: int, shape: Sequence[int]) -> int:
    """A tensor of the type and scale of another. Its index."""
    made = graph.add_near(near, "merged", shape, graph.type(tensor))
    graph.tensors[made].quantization = graph.tensors[tensor].quantization
    return made
