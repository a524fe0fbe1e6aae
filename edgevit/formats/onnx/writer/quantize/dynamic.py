"""Dynamic int8 for ONNX: int8 weights, activations quantised at run time from their own range.

Each Gemm or MatMul with constant weights becomes DynamicQuantizeLinear, MatMulInteger, and
scales and bias in float32, the form that onnxruntime runs as one kernel. Convolutions stay float32:
ConvInteger has no fast kernel on CPUs.
"""

from __future__ import annotations

import onnx_ir as ir

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.graph import (
    add_constant,
    forget_shapes,
    named_node,
    remove_unread,
    split_off,
)
from edgevit.formats.onnx.writer.quantize.layers import WeightedLayer, find_layers
from edgevit.quantization.levels import weight_levels, weight_scales


def quantize_dynamic(model: ir.Model) -> tuple[str, ...]:
    """Rewrites a float graph in place; lines for the manifest.

    Raises:
        ExportError: no layer to quantise.
    """
    layers, declined = find_layers(model)
    dense = [layer for layer in layers if not layer.is_conv]
    if not dense:
        raise ExportError("there is no Gemm or MatMul with constant weights to quantise.")
    quantized: dict[ir.Value, ir.Node] = {}  # float tensor -> what computes levels, scale, zero
    stored: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}  # weights -> (levels, scales)
    for layer in dense:
        _write_layer(model.graph, layer, quantized, stored)
    remove_unread(model)
    forget_shapes(model)
    left = [*(layer.node.name or "" for layer in layers if layer.is_conv), *declined]
    also = (f"left in float32: {', '.join(left)}",) if left else ()
    return (f"int8 weights of {len(dense)} layers; their inputs quantised at run time", *also)


def _write_layer(
    graph: ir.Graph,
    layer: WeightedLayer,
    quantized: dict[ir.Value, ir.Node],
    stored: dict[ir.Value, tuple[ir.Value, ir.Value]],
) -> None:
    """Puts the operators in front of a layer, which nothing reads then."""
    node, (entering, source) = layer.node, layer.node.inputs[:2]
    assert entering is not None
    assert source is not None
    result = split_off(node.outputs[0], f"{node.name}/replaced")

    def add(kind: str, inputs: list[ir.Value], name: str = "", **options) -> ir.Node:
        added = named_node(kind, inputs, f"{node.name}/{name or kind}", **options)
        graph.insert_before(node, added)
        return added

    if entering not in quantized:
        quantized[entering] = add("DynamicQuantizeLinear", [entering], count=3)
    levels, scale, zero = quantized[entering].outputs
    if source not in stored:
        scales = weight_scales(layer.rows)
        matrix = weight_levels(layer.rows, scales).T  # K N
        stored[source] = (
            add_constant(node, matrix, "weights"),
            add_constant(node, scales, "weights_scale"),
        )
    weights, weights_scale = stored[source]
    product = add("MatMulInteger", [levels, weights, zero]).outputs[0]
    product = add("Cast", [product], attributes={"to": ir.DataType.FLOAT}).outputs[0]
    factor = add("Mul", [scale, weights_scale]).outputs[0]
    if layer.bias is None:
        add("Mul", [product, factor], "Mul_2", outputs=[result])
    else:
        scaled = ir.Value(name=f"{node.name}/scaled")
        add("Mul", [product, factor], "Mul_2", outputs=[scaled])
        add("Add", [scaled, add_constant(node, layer.bias, "float_bias")], outputs=[result])
