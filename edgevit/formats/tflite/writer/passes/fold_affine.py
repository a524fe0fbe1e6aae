"""Scales and offsets of channels, folded into the layers with weights that alone read them.

``(n * gamma + beta) @ K + b = n @ (gamma[:, None] * K) + (b + beta @ K)``: LayerNormalization's
gamma and beta (two operators each), and what preprocessing multiplies and adds. An offset is left
where zeros are padded around it, since they would have to be padded before it was added.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.operators import OPERATORS
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.channels import (
    activation,
    channel_labels,
    find_entries,
    pads,
    scale_entry,
    shift_entry,
)
from edgevit.formats.tflite.writer.passes.rewriting import rewrite_each


def fold_affine(graph: TfliteGraph) -> PassReport:
    """Folds what can be folded, the operator nearest to the layer first; counts operators."""
    return rewrite_each("fold-affine", graph, reversed(graph.operators), _fold)


def _fold(graph: TfliteGraph, operator: Any) -> bool | Declined:
    """True: folded. False: nothing that looks like the pattern."""
    kind = graph.kind(operator)
    sign = OPERATORS[kind].sign if kind in OPERATORS else None
    if (kind != "MUL" and sign is None) or activation(operator) != NO_ACTIVATION:
        return False
    values = [graph.constant(int(index)) for index in operator.inputs]
    constants = [place for place, value in enumerate(values) if value is not None]
    if len(constants) != 1 or (kind == "SUB" and constants == [0]):
        return False
    (place,) = constants
    result, other = int(operator.outputs[0]), int(operator.inputs[1 - place])
    shape, value = graph.shape(result), values[place]
    assert value is not None
    if shape != graph.shape(other) or not shape or value.size not in (1, shape[-1]):
        return Declined("its constant is not one number a channel")
    if value.size > 1 and value.shape[-1] != shape[-1]:
        return Declined("its constant is not one number a channel")
    if kind == "MUL" and _ends_a_sum(graph, result, other):
        return Declined("it makes a mean of a sum of activations")
    found = find_entries(graph, result, channel_labels(shape))
    if isinstance(found, Declined):
        return found
    if sign is not None and any(pads(graph, entry.operator) for entry in found):
        return Declined("a convolution pads zeros onto it")
    factors = np.broadcast_to(value.reshape(-1), shape[-1:])
    for entry in found:
        if sign is None:
            scale_entry(graph, entry, factors)
        else:
            shift_entry(graph, entry, sign * factors)
    graph.bypass(operator, 1 - place)
    return True


def _ends_a_sum(graph: TfliteGraph, result: int, source: int) -> bool:
    """Whether one layer adds activations up and scales the sum.

    Folded, the layer's own values would be nowhere in the file, and nobody could hold them against
    the model's.
    """
    maker = graph.makers().get(source)
    if maker is None or graph.kind(maker) != "ADD":
        return False
    added = [graph.constant(int(index)) for index in maker.inputs]
    layers = [layer_of_node(graph.name(tensor)) for tensor in (result, source)]
    return all(value is None for value in added) and layers[0] == layers[1] != ""
