"""Padding that a maximum never chooses, as a number that integers can hold.

Networks that were trained elsewhere pad with minus infinity in front of a max pooling, which is the
lowest float in a file. One scale for that and for the pixels beside it leaves one level to all
pixels. A window that holds a pixel chooses no padding that is below all pixels, so the smallest
pixel pads as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgevit.formats.tflite.operators import Role, names_of
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges

CHOOSING = "MAX_POOL_2D"
MOVING = names_of(Role.MOVES)


def bound_padding(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """Pads with the smallest value where a maximum alone reads what is padded.

    Args:
        graph: float32; changed in place.
        ranges: (smallest, largest) of activations by name.

    Returns:
        The ranges, those of what is padded without the padding.
    """
    found = dict(ranges)
    for operator in graph.operators:
        value = graph.constant_input(operator, 2) if graph.kind(operator) == "PADV2" else None
        entering = found.get(graph.name(int(operator.inputs[0]))) if value is not None else None
        if value is None or entering is None or float(value.item()) >= entering[0]:
            continue
        padded = list(_follow(graph, int(operator.outputs[0])))
        if None not in padded:
            smallest = np.full_like(value, entering[0])
            graph.give_constant(operator, 2, smallest, "padding")
            found.update({graph.name(tensor): entering for tensor in padded if tensor is not None})
    return found


def _follow(graph: TfliteGraph, tensor: int) -> Iterator[int | None]:
    """A tensor and those with its values up to a maximum; None among them: others read it too."""
    yield None if graph.is_output(tensor) else tensor
    for operator, _ in graph.readers(tensor):
        if graph.kind(operator) in MOVING:
            yield from _follow(graph, int(operator.outputs[0]))
        elif graph.kind(operator) != CHOOSING:
            yield None
