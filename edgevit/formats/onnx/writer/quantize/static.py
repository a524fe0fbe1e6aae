"""Static int8 for ONNX: QuantizeLinear and DequantizeLinear around every weighted layer.

What is quantised: the inputs of Gemm, MatMul and Conv with constant weights, the weights (one scale
an output channel), their biases (int32, scale = input scale * weight scale), and the outputs of
Conv, since onnxruntime has no integer convolution that answers in float. Everything else stays
float32: normalisation, softmax, activations and residual sums, which lose most in 8 bits and take
little time; and products of two activations, whose 8-bit form is slower on CPUs.

Activations are uint8 with a zero point, weights int8 and symmetric: see
docs/decisions/0010-int8-onnx.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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
from edgevit.quantization.levels import (
    Affine,
    affine_of,
    bias_floor,
    bias_levels,
    weight_levels,
    weight_scales,
)

Ranges = dict[str, tuple[float, float]]


def quantize_static(model: ir.Model, ranges: Ranges) -> tuple[str, ...]:
    """Quantises a float graph in place.

    Args:
        model: in float32.
        ranges: (smallest, largest) of what enters and leaves each layer, as
            :func:`edgevit.formats.onnx.writer.quantize.ranges.observe` records them.

    Returns:
        Lines for the manifest.

    Raises:
        ExportError: no layer to quantise, or the ranges are those of another graph.
    """
    layers, declined = find_layers(model)
    if not layers:
        raise ExportError("there is no Gemm, MatMul or Conv with constant weights to quantise.")
    check_ranges(layers, ranges)
    writer = _Writer(model.graph, ranges)
    for layer in layers:
        writer.write(layer)
    remove_unread(model)
    forget_shapes(model)
    left = (f"left in float32: {', '.join(declined)}",) if declined else ()
    weights = "8-bit inputs and int8 weights a channel"
    return (f"{weights} in {len(layers)} layers, int32 biases", *left)


def range_keys(layer: WeightedLayer) -> list[str]:
    """What a record says of one layer."""
    sides = ("in", "weights", "out") if layer.is_conv else ("in", "weights")
    return [f"{layer.key}/{side}" for side in sides]


def check_ranges(layers: list[WeightedLayer], ranges: Ranges) -> None:
    """Refuses ranges of another graph: a layer that is missing, or that has other weights.

    Weights count as well as names: where a rewrite folds a factor into them, what enters the layer
    has another range.
    """
    for layer in layers:
        absent = [key for key in range_keys(layer) if key not in ranges]
        if absent:
            raise ExportError(
                f"the calibration record has no range for {absent[0]!r}: it belongs to another "
                "graph. Calibrate anew with --calibration PATH."
            )
        found = (float(layer.weights.min()), float(layer.weights.max()))
        if not np.allclose(found, ranges[f"{layer.key}/weights"], rtol=1e-3, atol=1e-6):
            raise ExportError(
                f"the calibration record was measured with other weights of {layer.key!r} "
                f"({ranges[f'{layer.key}/weights']}, here {found}): it belongs to another graph. "
                "Calibrate anew with --calibration PATH."
            )


class _Writer:
    """Puts layers between QuantizeLinear and DequantizeLinear, in the order of the graph."""

    def __init__(self, graph: ir.Graph, ranges: Ranges):
        self.graph = graph
        self.ranges = ranges
        self.quantized: dict[ir.Value, tuple[ir.Value, Affine]] = {}  # float -> through 8 bits
        self.stored: dict[tuple[ir.Value, bytes], tuple[ir.Value, ...]] = {}
        # weights, scales -> levels, scales, zeros

    def write(self, layer: WeightedLayer) -> None:
        node = layer.node
        entering, affine = self._quantized_input(layer)
        floor = None if layer.bias is None else bias_floor(layer.bias, affine.scale)
        scales = weight_scales(layer.rows, floor)
        node.replace_input_with(0, entering)
        node.replace_input_with(1, self._quantized_weights(layer, scales))
        if layer.bias is not None:
            bias_scales = (affine.scale * scales).astype(np.float32)
            levels = add_constant(node, bias_levels(layer.bias, bias_scales), "bias_levels")
            scale = add_constant(node, bias_scales, "bias_scale")
            node.replace_input_with(2, self._dequantize(node, "bias", levels, scale, axis=0))
        if layer.is_conv:
            self._quantize_output(layer)

    def _quantized_input(self, layer: WeightedLayer) -> tuple[ir.Value, Affine]:
        node, value = layer.node, layer.node.inputs[0]
        assert value is not None
        if value not in self.quantized:
            affine = affine_of(*self.ranges[f"{layer.key}/in"])
            both = self._through_levels(node, "input", value, affine)
            self.graph.insert_before(node, both)
            self.quantized[value] = (both[1].outputs[0], affine)
        return self.quantized[value]

    def _quantize_output(self, layer: WeightedLayer) -> None:
        node, affine = layer.node, affine_of(*self.ranges[f"{layer.key}/out"])
        outer = split_off(node.outputs[0], f"{node.name}/float")
        both = self._through_levels(node, "output", node.outputs[0], affine, [outer])
        self.graph.insert_after(node, both)
        self.quantized[outer] = (outer, affine)

    def _through_levels(
        self, node: ir.Node, role: str, value: ir.Value, affine: Affine, results: Sequence = ()
    ) -> tuple[ir.Node, ir.Node]:
        scale = add_constant(node, np.asarray(affine.scale), f"{role}_scale")
        zero = add_constant(node, np.asarray(np.uint8(affine.zero_point)), f"{role}_zero_point")
        name = f"{node.name}/{role}"
        down = named_node("QuantizeLinear", [value, scale, zero], f"{name}/QuantizeLinear")
        inputs = [down.outputs[0], scale, zero]
        return down, named_node(
            "DequantizeLinear", inputs, f"{name}/DequantizeLinear", outputs=results
        )

    def _quantized_weights(self, layer: WeightedLayer, scales: np.ndarray) -> ir.Value:
        node, source = layer.node, layer.node.inputs[1]
        assert source is not None
        key = source, scales.tobytes()
        if key not in self.stored:
            self.stored[key] = (
                add_constant(node, layer.stored(weight_levels(layer.rows, scales)), "weights"),
                add_constant(node, scales, "weights_scale"),
                # Zero is what an absent one means, but onnxruntime wants to see it.
                add_constant(node, np.zeros(len(scales), np.int8), "weights_zero_point"),
            )
        return self._dequantize(node, "weights", *self.stored[key], axis=layer.channel_axis)

    def _dequantize(self, node: ir.Node, role: str, *inputs: ir.Value, axis: int) -> ir.Value:
        name = f"{node.name}/{role}/DequantizeLinear"
        added = named_node("DequantizeLinear", inputs, name, {"axis": axis})
        self.graph.insert_before(node, added)
        return added.outputs[0]
