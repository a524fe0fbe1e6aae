"""Ranges of sums whose operands differ so much that XNNPACK would refuse the kernel.

XNNPACK adds and subtracts int8 tensors whose scale is 2**-10 to 2**8 times the result's; others are
left to LiteRT's own kernels, and cut the delegated part in two. The mean that a norm subtracts can
be smaller than that: five of FocalNet's eighteen norms with seeded weights, 4.7 % of its time. A
range of a thousandth of the result's is the remedy: the operand is then rounded by at most a
two-thousandth of the result's level, which is itself rounded by half a level.
"""

from __future__ import annotations

from collections import Counter

from edgevit.formats.tflite.operators import OPERATORS
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.formats.tflite.writer.quantize.split_products import tensors_of_equal_scale

SMALLEST = 1 / 1000  # of the result's range; XNNPACK takes 1/1024


def widen_operands(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """The ranges, with those of operands that are too narrow for their sum widened.

    Args:
        graph: float32; it stays as it is.
        ranges: (smallest, largest) by tensor name.
    """
    made = graph.makers()
    found = dict(ranges)
    readers = Counter(int(tensor) for op in graph.operators for tensor in op.inputs)
    for operator in graph.operators:
        kind, result = graph.kind(operator), graph.name(int(operator.outputs[0]))
        if kind not in OPERATORS or OPERATORS[kind].sign is None or result not in found:
            continue
        wanted = SMALLEST * width_of(found[result])
        for operand in (int(index) for index in operator.inputs):
            name = graph.name(operand)
            if name not in found or width_of(found[name]) >= wanted:
                continue
            moved = tensors_of_equal_scale(graph, made, operand)
            if all(readers[tensor] == 1 for tensor in moved):  # nobody needs it finer
                for key in {graph.name(tensor) for tensor in moved} & {*found}:
                    found[key] = widened(found[key], wanted)
    return found


def width_of(pair: tuple[float, float]) -> float:
    """Of a range, which always holds zero."""
    return max(pair[1], 0.0) - min(pair[0], 0.0)


def widened(pair: tuple[float, float], width: float) -> tuple[float, float]:
    """The range in proportion; a range of nothing grows upwards."""
    factor = width / width_of(pair) if width_of(pair) > 0 else 0.0
    return (min(pair[0], 0.0) * factor, max(pair[1], 0.0) * factor) if factor else (0.0, width)
