"""What planning needs to know of a float TFLite graph: operators, layers, sizes, kernels."""

from __future__ import annotations

import math

from edgevit.core.target import Precision
from edgevit.formats.tflite.operators import OPERATORS, OpSpec, Role, count_macs, has_kernel
from edgevit.formats.tflite.runtime.nodes import list_nodes
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.quantization.kernel_costs import OpSize
from edgevit.quantization.planner import FloatGraph, PlannedOp

UNKNOWN = OpSpec(Role.COMPUTES)
WEIGHTS_ONLY = (Precision.DYNAMIC, Precision.DYNAMIC_INT4)


def describe_graph(graph: TfliteGraph) -> FloatGraph:
    """The operators of a float graph with their layers and sizes."""
    elements = {index: max(1, math.prod(graph.shape(index))) for index, _ in graph.activations()}
    ops = []
    for operator, node in zip(graph.operators, list_nodes(graph.model), strict=True):
        spec = OPERATORS.get(node.op, UNKNOWN)
        reads = [int(index) for index in operator.inputs]
        inputs = tuple(index for index in reads if index in elements)
        outputs = tuple(int(index) for index in operator.outputs)
        weighted = spec.weighted and reads[1] >= 0 and reads[1] not in elements
        shapes = [graph.shape(index) for index in reads if index >= 0]
        macs = count_macs(node.op, shapes, graph.shape(outputs[0]), operator.builtinOptions)
        size = OpSize(
            sum(elements.get(index, 0) for index in (*inputs, *outputs)),
            macs or 0,
            math.prod(graph.shape(reads[1])) if weighted else 0,
        )
        precisions = frozenset(
            precision
            for precision in Precision
            if has_kernel(node.op, precision) and (weighted or precision not in WEIGHTS_ONLY)
        )
        layer = node.layer or node.name
        ops.append(
            PlannedOp(node.op, layer, inputs, outputs, size, precisions, weighted, spec.delicate)
        )
    inputs, outputs = (
        tuple(int(index) for index in side) for side in (graph.graph.inputs, graph.graph.outputs)
    )
    return FloatGraph(tuple(ops), inputs, outputs, elements)
