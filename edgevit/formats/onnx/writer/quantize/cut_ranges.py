"""Ranges of convolutions cut where what reads their output is flat."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import attribute, readers
from edgevit.formats.onnx.writer.quantize.layers import WeightedLayer
from edgevit.quantization.moving_parts import HARD_SWISH, WHOLE, Pair, cut_range, join_parts


def cut_ranges(layers: Sequence[WeightedLayer], ranges: dict[str, Pair]) -> dict[str, Pair]:
    """The ranges, those of what leaves a convolution no wider than where any reader moves.

    Args:
        layers: of a float graph.
        ranges: (smallest, largest), as a record calls them.
    """
    found = dict(ranges)
    for layer in layers:
        if layer.is_conv and not layer.result.is_graph_output():
            part = join_parts(_moving_part(node) for node in readers(layer.result))
            found[layer.result_key] = cut_range(ranges[layer.result_key], part)
    return found


def _moving_part(node: ir.Node) -> Pair:
    if node.op_type == "HardSwish":
        return HARD_SWISH
    if node.op_type == "HardSigmoid":
        slope, offset = float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))
        return -offset / slope, (1 - offset) / slope
    return WHOLE
