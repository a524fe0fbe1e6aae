"""Ranges so narrow that LiteRT's integer softmax ends the process on them.

It checks, with an abort, that the step of what enters is more than 2**-26 where its fixed point
holds it (``PreprocessSoftmaxScaling``). A network that returns nearly the same whatever it sees has
such a range. Nothing is lost by a wider one: a softmax of numbers within a hundred-thousandth is
constant.
"""

from __future__ import annotations

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.formats.tflite.writer.quantize.split_products import tensors_of_equal_scale
from edgevit.formats.tflite.writer.quantize.widen_operands import widened, width_of

LEVELS = 255
BITS = 26  # 31, less those of the integer part of what the softmax scales
MARGIN = 2.0


def give_room(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """The ranges, with those widened that a softmax would abort on.

    Args:
        graph: float32; it stays as it is.
        ranges: (smallest, largest) by tensor name.
    """
    made = graph.makers()
    found = dict(ranges)
    for operator in graph.operators:
        if graph.kind(operator) not in ("SOFTMAX", "LOG_SOFTMAX"):
            continue
        beta = getattr(operator.builtinOptions, "beta", 1.0) or 1.0
        wanted = MARGIN * LEVELS * 2.0**-BITS / beta
        for tensor in tensors_of_equal_scale(graph, made, int(operator.inputs[0])):
            name = graph.name(tensor)
            if name in found and width_of(found[name]) < wanted:
                found[name] = widened(found[name], wanted)
    return found
