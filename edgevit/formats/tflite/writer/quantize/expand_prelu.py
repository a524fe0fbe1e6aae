"""PReLU as operators that have int16 kernels: ``relu(x) + alpha * min(x, 0)``.

LiteRT's own PRELU (He et al. 2015, arXiv:1502.01852) takes int8 and float alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_each
from edgevit.formats.tflite.writer.quantize.integer import Ranges


def expand_prelu(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """Rewrites every PReLU with stored slopes of a float graph, which is changed in place.

    Args:
        graph: float32.
        ranges: (smallest, largest) of activations by name.

    Returns:
        The ranges; those of the new activations are computed, not measured.
    """
    found = dict(ranges)
    if "PRELU" in graph.kinds:
        replace_each(graph, "PRELU", lambda prelu: _write(graph, prelu, found))
    return found


def _write(graph: TfliteGraph, operator: Any, ranges: Ranges) -> list[Any]:
    x, slopes = (int(index) for index in operator.inputs)
    (result,) = (int(index) for index in operator.outputs)
    alpha = graph.constant(slopes)
    if alpha is None:
        return [operator]
    low, high = ranges[graph.name(x)]
    below = min(low, 0.0)
    ends = (below * float(alpha.max()), below * float(alpha.min()))
    made = []
    for suffix, pair in (
        ("/above", (0.0, max(high, 0.0))),
        ("/below", (below, 0.0)),
        ("/bent", (min(*ends, 0.0), max(*ends, 0.0))),
    ):
        made.append(graph.copy_tensor(result, suffix, "float32"))
        ranges[graph.name(made[-1])] = pair
    above, under, bent = made
    zero = graph.add_near(result, "zero", (1,), "float32", np.zeros(1, np.float32))
    return [
        graph.make_elementwise("RELU", [x], above),
        graph.make_operator("MINIMUM", 1, [x, zero], [under], "MaximumMinimumOptions"),
        graph.make_elementwise("MUL", [under, slopes], bent),
        graph.make_elementwise("ADD", [above, bent], result),
    ]
