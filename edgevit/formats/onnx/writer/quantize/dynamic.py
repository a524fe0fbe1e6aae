"""Dynamic int8 for ONNX: int8 weights, activations quantised at run time from their own range.

Each Gemm or MatMul with constant weights becomes DynamicQuantizeLinear, MatMulInteger, and
scales and bias in float32, the form that onnxruntime runs as one kernel. Convolutions stay float32:
ConvInteger has no fast kernel on CPUs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.quantize.layers import (
    WeightedLayer,
    add_constant,
    drop_unused,
    find_layers,
)
from edgevit.quantization.levels import weight_levels, weight_scales


def quantize_dynamic(model: Any) -> tuple[str, ...]:
    """Rewrites a float graph in place; lines for the manifest.

    Raises:
        ExportError: no layer to quantise.
    """
    layers, declined = find_layers(model)
    dense = {layer.node.name: layer for layer in layers if not layer.is_conv}
    if not dense:
        raise ExportError("there is no Gemm or MatMul with constant weights to quantise.")
    graph = model.graph
    nodes: list[Any] = []
    quantized: dict[str, tuple[str, str, str]] = {}  # float tensor -> its levels, scale, zero
    stored: dict[str, tuple[str, str]] = {}  # weights -> (levels, scales)
    for node in graph.node:
        if node.name in dense:
            _write_layer(graph, dense[node.name], nodes, quantized, stored)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(graph)
    convs = [layer.node.name for layer in layers if layer.is_conv]
    left = [*convs, *declined]
    also = (f"left in float32: {', '.join(left)}",) if left else ()
    return (f"int8 weights of {len(dense)} layers; their inputs quantised at run time", *also)


def _write_layer(
    graph: Any,
    layer: WeightedLayer,
    nodes: list[Any],
    quantized: dict[str, tuple[str, str, str]],
    stored: dict[str, tuple[str, str]],
) -> None:
    from onnx import TensorProto, helper

    node, prefix = layer.node, layer.node.name

    def add(kind: str, inputs: list[str], results: int = 1, last: bool = False, **extra) -> Any:
        outputs = [f"{prefix}/{kind}:{number}" for number in range(results)]
        if last:
            outputs = [node.output[0]]
        nodes.append(helper.make_node(kind, inputs, outputs, f"{prefix}/{kind}", **extra))
        return outputs

    entering = node.input[0]
    if entering not in quantized:
        quantized[entering] = tuple(add("DynamicQuantizeLinear", [entering], results=3))
    levels, scale, zero = quantized[entering]
    if node.input[1] not in stored:
        scales = weight_scales(layer.rows)
        matrix = np.ascontiguousarray(weight_levels(layer.rows, scales).T)  # K N
        stored[node.input[1]] = (
            add_constant(graph, f"{prefix}/weights", matrix),
            add_constant(graph, f"{prefix}/weights_scale", scales),
        )
    weights, weights_scale = stored[node.input[1]]
    (product,) = add("MatMulInteger", [levels, weights, zero])
    (product,) = add("Cast", [product], to=TensorProto.FLOAT)
    (factor,) = add("Mul", [scale, weights_scale])
    biased = layer.bias is not None
    outputs = [f"{prefix}/scaled"] if biased else [node.output[0]]
    nodes.append(helper.make_node("Mul", [product, factor], outputs, f"{prefix}/Mul_2"))
    if biased:
        bias = add_constant(graph, f"{prefix}/float_bias", layer.bias)
        add("Add", [outputs[0], bias], last=True)
