"""Ranges narrower than what the samples showed: finer steps, paid by cutting the rarest values."""

from __future__ import annotations

from collections.abc import Mapping

from edgevit.formats.layer_names import mark_levelled
from edgevit.formats.tflite.operators import OPERATORS, WEIGHTED
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.channels import activation
from edgevit.formats.tflite.writer.quantize.cut_ranges import MOVING
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.formats.tflite.writer.quantize.split_products import MOVES

RELU6 = 3  # ActivationFunctionType of the schema
LOW, HIGH = 0, 1

Ends = Mapping[str, frozenset[int]]  # which ends of a range may move, by tensor name


def list_loose_ends(graph: TfliteGraph) -> Ends:
    """Which ends of ranges may be cut, by the names that tensors have and get when levelled.

    What a file takes and returns is never cut, and pixels in front of all layers are not: black and
    white are no rare values, and an output beyond all samples may be what counts. Nor is an end cut
    that functions reach often: six of a ReLU6, and what a hard swish makes of small values.

    Args:
        graph: float32, as it was calibrated.
    """
    borders = _reach_back(graph, {int(index) for index in graph.graph.outputs})
    capped: set[int] = set()
    learnt: set[int] = set()
    for operator in graph.operators:
        if graph.kind(operator) in WEIGHTED or learnt & {int(index) for index in operator.inputs}:
            learnt |= {int(index) for index in operator.outputs}
        moved = graph.kind(operator) in MOVES and int(operator.inputs[0]) in capped
        if moved or activation(operator) == RELU6:
            capped |= {int(index) for index in operator.outputs}
    flat = {
        int(index)
        for operator in graph.operators
        if graph.kind(operator) in MOVING
        for index in (*operator.inputs, *operator.outputs)
    }
    ends = {}
    for index, name in graph.activations():
        if index in learnt - borders:
            loose = {LOW} if index not in flat else set()
            loose |= {HIGH} if index not in capped else set()
            ends[name] = ends[mark_levelled(name)] = frozenset(loose)
    return ends


def _reach_back(graph: TfliteGraph, tensors: set[int]) -> set[int]:
    """Tensors, and those in front of them that have the same levels."""
    for operator in reversed(graph.operators):
        spec = OPERATORS.get(graph.kind(operator))
        same = spec is not None and (spec.same_scale or graph.kind(operator) in MOVES)
        if same and tensors & {int(index) for index in operator.outputs}:
            tensors = tensors | {int(index) for index in operator.inputs}
    return tensors


def narrow_ranges(ranges: Ranges, ends: Ends, width: float) -> tuple[Ranges, tuple[str, ...]]:
    """Ranges of which loose ends are drawn in.

    Args:
        ranges: (smallest, largest) by tensor name.
        ends: of :func:`list_loose_ends`.
        width: what is left of each, as a share.

    Returns:
        (the ranges, a line for the manifest if they are narrower).
    """
    if width == 1:
        return dict(ranges), ()
    narrow = {}
    for name, pair in ranges.items():
        loose = ends.get(name, frozenset())
        low, high = (width * end if side in loose else end for side, end in enumerate(pair))
        narrow[name] = low, high
    return narrow, (f"ranges of {100 * width:.0f} % of what the samples showed",)
