"""Scales and offsets of channels, folded into the layers with weights beside them.

``(n * gamma + beta) @ K + b = n @ (gamma[:, None] * K) + (b + beta @ K)``: LayerNormalization's
gamma and beta (two operators each), and what preprocessing multiplies and adds. An offset is left
where zeros are padded around it, since they would have to be padded before it was added. An offset
behind a layer with weights, with nothing but reshapes between, is a part of that layer's bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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

WITH_BIAS = 3  # version of a TRANSPOSE_CONV


def fold_affine(graph: TfliteGraph) -> PassReport:
    """Folds what can be folded, the operator nearest to the layer first; counts operators."""
    return rewrite_each("fold-affine", graph, reversed(graph.operators), _fold)


def _fold(graph: TfliteGraph, operator: Any) -> bool | Declined:
    """True: folded. False: nothing that looks like the pattern."""
    kind = graph.kind(operator)
    sign = OPERATORS[kind].sign if kind in OPERATORS else None
    if kind != "MUL" and sign is None:
        return False
    if sign is not None and _fold_back(graph, operator, sign):
        return True
    if activation(operator) != NO_ACTIVATION:
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


def _fold_back(graph: TfliteGraph, operator: Any, sign: float) -> bool:
    """Whether a sum with one number a channel went into the bias of the layer before it."""
    source, constant = int(operator.inputs[0]), graph.constant_input(operator, 1)
    result, makers = int(operator.outputs[0]), graph.makers()
    if constant is None or constant.size not in (1, *graph.shape(result)[-1:]):
        return False
    width, maker = graph.shape(result)[-1], makers.get(source)
    through = 0
    while maker is not None and graph.kind(maker) == "RESHAPE" and _only(graph, source, width):
        source, through = int(maker.inputs[0]), through + 1
        maker = makers.get(source)
    if maker is None or not through or not _only(graph, source, width):
        return False
    spec = OPERATORS.get(graph.kind(maker))
    place = spec.bias if spec else None
    if place is None:
        return False
    bias = graph.constant_input(maker, place)
    known = bias is not None or place >= len(maker.inputs) or int(maker.inputs[place]) < 0
    if activation(maker) != NO_ACTIVATION or not known:
        return False
    moved = np.broadcast_to(sign * constant.reshape(-1).astype(np.float64), (width,))
    graph.give_constant(maker, place, moved if bias is None else bias + moved, "bias")
    if graph.kind(maker) == "TRANSPOSE_CONV":
        maker.opcodeIndex = graph.opcode("TRANSPOSE_CONV", WITH_BIAS)
    maker.builtinOptions.fusedActivationFunction = activation(operator)
    if graph.is_output(result):
        graph.set_output(result, int(operator.inputs[0]))
    graph.bypass(operator, 0)
    return True


def _only(graph: TfliteGraph, tensor: int, width: int) -> bool:
    """Whether one operator reads a tensor of so many channels, and nobody else."""
    alone = len(list(graph.readers(tensor))) == 1 and not graph.is_output(tensor)
    return alone and graph.shape(tensor)[-1:] == (width,)


def _ends_a_sum(graph: TfliteGraph, result: int, source: int) -> bool:
    """Whether one layer adds activations up and scales the sum.

    Folded, the layer's own values would be nowhere in the file, and nobody could hold them against
    the model's.
    """
    maker = graph.makers().get(source)
    if maker is None or graph.kind(maker) != "ADD":
        return False
    added = [graph.constant(int(index)) for index in maker.inputs]
    layers = [graph.name(tensor).split(";")[0].rpartition("/")[0] for tensor in (result, source)]
    return all(value is None for value in added) and layers[0] == layers[1] != ""
