"""Operators without an integer kernel, as others that have one; exact in real arithmetic.

The graph that calibration runs and that quantisers start from is rewritten, so what is new has
measured ranges.

- LiteRT has no int8 SQUARE: a square is a product.
- It divides by an activation only in float: a quotient is a product with a reciprocal, which is a
  function of one tensor.
- Its reference kernel of SUM counts the zero point once instead of once a term: a sum is a mean and
  a factor.
- An output of SPLIT that nothing reads has no scale, for which TensorFlow's quantiser leaves the
  operator in float: each output that is read is a SLICE.
- The quantiser writes a version of TILE that LiteRT does not know: a repetition is a CONCATENATION.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgevit.formats.passes import PassReport
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where

NAME = "integer-forms"
# What takes the place of an operator; None: it stays.
Form = Callable[[TfliteGraph, Any], list[Any] | None]


def suit_integers(graph: TfliteGraph) -> PassReport:
    """Rewrites what has another form; counts operators.

    Args:
        graph: float32; changed in place.
    """
    return PassReport(NAME, _replace_kinds(graph, REWRITES))


def slice_splits(graph: TfliteGraph) -> PassReport:
    """SPLIT and UNPACK as slices, PACK as a concatenation, for integers that have only those."""
    kinds = {
        "SPLIT": _slice_all,
        "SPLIT_V": _slice_all,
        "UNPACK": _slice_unpacked,
        "PACK": _concatenate,
    }
    return PassReport("slices", _replace_kinds(graph, kinds))


def _replace_kinds(graph: TfliteGraph, kinds: Mapping[str, Form]) -> int:
    def write(operator: Any) -> list[Any] | None:
        form = kinds.get(graph.kind(operator))
        return form(graph, operator) if form else None

    count = replace_where(graph, write)
    if count:
        graph.prune()
    return count


def _multiply(graph: TfliteGraph, operator: Any) -> list[Any]:
    x, result = int(operator.inputs[0]), int(operator.outputs[0])
    return [graph.make_elementwise("MUL", [x, x], result)]


def _take_reciprocal(graph: TfliteGraph, operator: Any) -> list[Any] | None:
    """None where one side is stored: a function of one tensor as it is, or of channels."""
    above, below = (int(index) for index in operator.inputs)
    if graph.is_constant(above) or graph.type(below) != "float32":
        return None
    result = int(operator.outputs[0])
    fused = operator.builtinOptions.fusedActivationFunction
    if graph.is_constant(below):
        values = (1 / graph.values(below).astype(np.float64)).astype(np.float32)
        factor = graph.add_near(result, "reciprocal", values.shape, "float32", values)
        return [_product(graph, above, factor, result, fused)]
    one = graph.add_near(result, "one", (1,), "float32", np.ones(1, np.float32))
    inverse = _like(graph, below, "reciprocal")
    options = {"fusedActivationFunction": NO_ACTIVATION}
    return [
        graph.make_operator("DIV", 1, [one, below], [inverse], "DivOptions", **options),
        _product(graph, above, inverse, result, fused),
    ]


def _product(graph: TfliteGraph, first: int, second: int, result: int, fused: int) -> Any:
    options = {"fusedActivationFunction": fused}
    return graph.make_operator("MUL", 1, [first, second], [result], "MulOptions", **options)


def _average(graph: TfliteGraph, operator: Any) -> list[Any] | None:
    source, result = int(operator.inputs[0]), int(operator.outputs[0])
    if graph.type(result) != "float32" or not _keeps_batch(graph, operator):
        return None
    terms = math.prod(graph.shape(source)) // max(1, math.prod(graph.shape(result)))
    mean = _like(graph, result, "mean")
    count = graph.add_near(result, "terms", (1,), "float32", np.array([terms], np.float32))
    options = {"keepDims": operator.builtinOptions.keepDims}
    entering = [int(index) for index in operator.inputs]
    return [
        graph.make_operator("MEAN", 1, entering, [mean], "ReducerOptions", **options),
        graph.make_elementwise("MUL", [mean, count], result),
    ]


def _like(graph: TfliteGraph, tensor: int, role: str) -> int:
    name = f"{graph.name(tensor)}/{role}"
    return graph.add_tensor(name, graph.shape(tensor), "float32", free=graph.is_free(tensor))


def _keeps_batch(graph: TfliteGraph, operator: Any) -> bool:
    axes = graph.constant_input(operator, 1)
    rank = len(graph.shape(int(operator.inputs[0])))
    return axes is not None and 0 not in np.atleast_1d(axes) % rank


def _repeat(graph: TfliteGraph, operator: Any) -> list[Any] | None:
    """None where the number of repetitions is computed, or the batch is repeated."""
    source, result = int(operator.inputs[0]), int(operator.outputs[0])
    counts = graph.constant_input(operator, 1)
    if counts is None or graph.type(result) != "float32" or (counts[0] > 1 and len(counts) > 1):
        return None
    axes = [int(axis) for axis in np.flatnonzero(counts > 1)]
    made: list[Any] = []
    for axis in axes:
        target = result
        if axis != axes[-1]:
            shape = list(graph.shape(source))
            shape[axis] *= int(counts[axis])
            free = graph.is_free(result)
            target = graph.add_tensor(
                f"{graph.name(result)}/repeated_{axis}", shape, "float32", free=free
            )
        made.append(_join(graph, [source] * int(counts[axis]), target, axis))
        source = target
    return made or None


def _join(graph: TfliteGraph, parts: list[int], result: int, axis: int) -> Any:
    options = {"axis": axis, "fusedActivationFunction": NO_ACTIVATION}
    return graph.make_operator(
        "CONCATENATION", 1, parts, [result], "ConcatenationOptions", **options
    )


def _slice_read(graph: TfliteGraph, operator: Any) -> list[Any] | None:
    """None where every output is read: then the operator has a kernel."""
    if all(_is_read(graph, int(index)) for index in operator.outputs):
        return None
    return _slice_all(graph, operator)


def _slice_all(graph: TfliteGraph, operator: Any) -> list[Any]:
    # SPLIT takes (axis, tensor), SPLIT_V (tensor, sizes, axis).
    where, what = (0, 1) if graph.kind(operator) == "SPLIT" else (2, 0)
    source = int(operator.inputs[what])
    axis = int(graph.values(int(operator.inputs[where])).flat[0]) % len(graph.shape(source))
    made, start = [], 0
    for index in (int(number) for number in operator.outputs):
        size = graph.shape(index)[axis]
        if _is_read(graph, index):
            made.append(_slice(graph, source, index, axis, start, size))
        start += size
    return made


def _slice_unpacked(graph: TfliteGraph, operator: Any) -> list[Any]:
    source = int(operator.inputs[0])
    axis = int(operator.builtinOptions.axis) % len(graph.shape(source))
    made = []
    for start, index in enumerate(int(number) for number in operator.outputs):
        if _is_read(graph, index):
            shape = [*graph.shape(index)[:axis], 1, *graph.shape(index)[axis:]]
            part = graph.add_tensor(f"{graph.name(index)}/slice", shape, "float32")
            made += [
                _slice(graph, source, part, axis, start, 1),
                graph.make_reshape(part, index, index),
            ]
    return made


def _concatenate(graph: TfliteGraph, operator: Any) -> list[Any]:
    result = int(operator.outputs[0])
    axis = int(operator.builtinOptions.axis) % len(graph.shape(result))
    made, parts = [], []
    for place, index in enumerate(int(number) for number in operator.inputs):
        shape = [*graph.shape(index)[:axis], 1, *graph.shape(index)[axis:]]
        part = graph.add_tensor(f"{graph.name(result)}/part_{place}", shape, "float32")
        made.append(graph.make_reshape(index, part, result))
        parts.append(part)
    made.append(_join(graph, parts, result, axis))
    return made


def _slice(graph: TfliteGraph, source: int, result: int, axis: int, start: int, size: int) -> Any:
    rank = len(graph.shape(source))
    begins, sizes = np.zeros(rank, np.int32), np.full(rank, -1, np.int32)  # -1: to the end
    begins[axis], sizes[axis] = start, size
    places = [
        graph.add_near(result, role, (rank,), "int32", values)
        for role, values in (("begin", begins), ("size", sizes))
    ]
    return graph.make_operator("SLICE", 1, [source, *places], [result], "SliceOptions")


def _is_read(graph: TfliteGraph, tensor: int) -> bool:
    return graph.is_output(tensor) or next(graph.readers(tensor), None) is not None


REWRITES = {
    "DIV": _take_reciprocal,
    "SPLIT": _slice_read,
    "SPLIT_V": _slice_read,
    "SQUARE": _multiply,
    "SUM": _average,
    "TILE": _repeat,
}
