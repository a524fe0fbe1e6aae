"""Stored masks in front of a softmax, as bounds that integers can hold.

A mask puts -1e9, or -100 in Swin, where attention must not look. One scale for that and for the
scores beside it leaves few levels to the scores. What is ten below the smallest score weighs less
than 5e-5 behind a softmax, a hundredth of a level of int8, so a MINIMUM with a stored bound does
the same: the largest score where it may look, ten below the smallest where it may not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges

HIDDEN = -50.0  # what is lower may be a mask, if it brings every score below the smallest
BELOW = 10.0  # exp(-10) is 4.5e-5


def bound_masks(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """Puts bounds where stored masks are, in a float graph that is about to become integers.

    Args:
        graph: float32; changed in place.
        ranges: (smallest, largest) of activations by name.

    Returns:
        The ranges; those of what is masked are computed.
    """
    found = dict(ranges)
    masks = [_find_mask(graph, operator, ranges) for operator in graph.operators]
    if any(masks):
        graph.operators = [
            operator if mask is None else _bound(graph, operator, *mask, found)
            for operator, mask in zip(graph.operators, masks, strict=True)
        ]
        graph.prune()
    return found


def _find_mask(graph: TfliteGraph, operator: Any, ranges: Ranges) -> tuple[int, np.ndarray] | None:
    """(the scores, where they are seen) of an operator that hides some of them."""
    kind, inputs = graph.kind(operator), [int(index) for index in operator.inputs]
    stored = [graph.constant(index) for index in inputs]
    if kind in ("SELECT", "SELECT_V2"):
        seen, first, second = stored
        if seen is None or (first is None) == (second is None):
            return None
        fill, scores = (second, inputs[1]) if first is None else (first, inputs[2])
        assert fill is not None
        if not (fill.dtype == np.float32 and np.all(fill <= HIDDEN)):
            return None
        return scores, seen if first is None else ~seen
    if kind != "ADD" or (stored[0] is None) == (stored[1] is None):
        return None
    added, scores = (stored[1], inputs[0]) if stored[0] is None else (stored[0], inputs[1])
    assert added is not None
    if not (np.all((added == 0) | (added <= HIDDEN)) and np.any(added)):
        return None
    low, high = ranges[graph.name(scores)]
    hidden = float(added[added != 0].max()) + max(high, 0.0)  # the largest score that is masked
    return (scores, added == 0) if hidden <= min(low, 0.0) - BELOW else None


def _bound(graph: TfliteGraph, operator: Any, scores: int, seen: np.ndarray, ranges: Ranges) -> Any:
    result = int(operator.outputs[0])
    low, high = ranges[graph.name(scores)]
    low, high = min(low, 0.0), max(high, 0.0)
    bounds = np.where(seen, np.float32(high), np.float32(low - BELOW)).astype(np.float32)
    ranges[graph.name(result)] = (low - BELOW, high)
    stored = graph.add_near(result, "bounds", bounds.shape, "float32", bounds)
    options = "MaximumMinimumOptions"
    return graph.make_operator("MINIMUM", 1, [scores, stored], [result], options)
