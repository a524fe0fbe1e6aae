"""Ranges of a TFLite graph cut where what reads a tensor is flat."""

from __future__ import annotations

from collections.abc import Mapping

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.quantization.moving_parts import HARD_SWISH, WHOLE, Pair, cut_range, join_parts

# A RELU is fused into the layer in front of it but in volumes, where layer diff compares what it
# reads with the layer's own output.
MOVING: Mapping[str, Pair] = {"HARD_SWISH": HARD_SWISH}


def cut_ranges(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """The ranges, each no wider than the part in which any of its readers moves.

    Args:
        graph: float32; it stays as it is.
        ranges: (smallest, largest) by tensor name.
    """
    parts: dict[str, list[Pair]] = {
        graph.name(int(index)): [WHOLE] for index in graph.graph.outputs
    }
    for operator in graph.operators:
        part = MOVING.get(graph.kind(operator), WHOLE)
        for index in operator.inputs:
            if index >= 0:
                parts.setdefault(graph.name(int(index)), []).append(part)
    return {name: cut_range(pair, join_parts(parts.get(name, ()))) for name, pair in ranges.items()}
