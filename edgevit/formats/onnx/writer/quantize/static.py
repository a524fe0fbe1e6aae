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

from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.quantize.dense import write_as_gemm
from edgevit.formats.onnx.writer.quantize.layers import (
    WeightedLayer,
    add_constant,
    drop_unused,
    find_layers,
)
from edgevit.quantization.levels import (
    Affine,
    affine_of,
    bias_floor,
    bias_levels,
    weight_levels,
    weight_scales,
)

Ranges = dict[str, tuple[float, float]]


def quantize_static(model: Any, ranges: Ranges) -> tuple[str, ...]:
    """Quantises a float graph in place.

    Args:
        model: float32 ModelProto.
        ranges: (smallest, largest) of what enters and leaves each layer, as
            :func:`edgevit.formats.onnx.writer.quantize.ranges.measure` records them.

    Returns:
        Lines for the manifest.

    Raises:
        ExportError: no layer to quantise, or the ranges are those of another graph.
    """
    write_as_gemm(model)
    layers, declined = find_layers(model)
    if not layers:
        raise ExportError("there is no Gemm, MatMul or Conv with constant weights to quantise.")
    check_ranges(layers, ranges)
    writer = _Writer(model, {layer.node.name: layer for layer in layers}, ranges)
    writer.rewrite()
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
    """Builds the quantised list of nodes beside the float one, then swaps them."""

    def __init__(self, model: Any, layers: dict[str, WeightedLayer], ranges: Ranges):
        self.graph = model.graph
        self.layers = layers
        self.ranges = ranges
        self.nodes: list[Any] = []
        self.quantized: dict[str, tuple[str, Affine]] = {}  # float tensor -> its 8-bit twin
        self.stored: dict[
            tuple[str, bytes], tuple[str, str, str]
        ] = {}  # weights -> levels, scales, zeros

    def rewrite(self) -> None:
        for node in self.graph.node:
            layer = self.layers.get(node.name)
            if layer is None:
                self.nodes.append(node)
            else:
                self._write_layer(layer)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        drop_unused(self.graph)

    def _write_layer(self, layer: WeightedLayer) -> None:
        from onnx import NodeProto

        node = NodeProto()
        node.CopyFrom(layer.node)
        entering, affine = self._quantized_input(layer)
        floor = None if layer.bias is None else bias_floor(layer.bias, affine.scale)
        scales = weight_scales(layer.rows, floor)
        node.input[0] = entering
        node.input[1] = self._quantized_weights(layer, scales)
        if layer.bias is not None:
            bias_scales = (affine.scale * scales).astype(np.float32)
            levels = self._constant(
                f"{node.name}/bias_levels", bias_levels(layer.bias, bias_scales)
            )
            scale = self._constant(f"{node.name}/bias_scale", bias_scales)
            node.input[2] = self._dequantize(f"{node.name}/bias", levels, scale, axis=0)
        self.nodes.append(node)
        if layer.is_conv:
            self._quantize_output(layer, node)

    def _quantized_input(self, layer: WeightedLayer) -> tuple[str, Affine]:
        name = layer.node.input[0]
        if name not in self.quantized:
            affine = affine_of(*self.ranges[f"{layer.key}/in"])
            twin = self._quantize_and_back(f"{layer.node.name}/input", name, affine)
            self.quantized[name] = (twin, affine)
        return self.quantized[name]

    def _quantize_output(self, layer: WeightedLayer, node: Any) -> None:
        name = node.output[0]
        affine = affine_of(*self.ranges[f"{layer.key}/out"])
        node.output[0] = f"{node.name}/float"
        self._quantize_and_back(f"{node.name}/output", node.output[0], affine, name)
        self.quantized[name] = (name, affine)

    def _quantize_and_back(self, prefix: str, name: str, affine: Affine, result: str = "") -> str:
        from onnx import helper

        scale = self._constant(f"{prefix}_scale", affine.scale)
        zero = self._constant(f"{prefix}_zero_point", np.uint8(affine.zero_point))
        levels = f"{prefix}/QuantizeLinear:0"
        self.nodes.append(
            helper.make_node(
                "QuantizeLinear", [name, scale, zero], [levels], f"{prefix}/QuantizeLinear"
            )
        )
        return self._dequantize(prefix, levels, scale, zero, result=result)

    def _quantized_weights(self, layer: WeightedLayer, scales: np.ndarray) -> str:
        source = layer.node.input[1]
        if (source, scales.tobytes()) not in self.stored:
            prefix = f"{layer.node.name}/weights"
            self.stored[source, scales.tobytes()] = (
                self._constant(prefix, layer.stored(weight_levels(layer.rows, scales))),
                self._constant(f"{prefix}_scale", scales),
                # Zero is what an absent one means, but onnxruntime wants to see it.
                self._constant(f"{prefix}_zero_point", np.zeros(len(scales), np.int8)),
            )
        names = self.stored[source, scales.tobytes()]
        return self._dequantize(f"{layer.node.name}/weights", *names, axis=layer.channel_axis)

    def _dequantize(
        self, prefix: str, *inputs: str, axis: int | None = None, result: str = ""
    ) -> str:
        from onnx import helper

        extra = {} if axis is None else {"axis": axis}
        result = result or f"{prefix}/DequantizeLinear:0"
        node = helper.make_node(
            "DequantizeLinear", inputs, [result], f"{prefix}/DequantizeLinear", **extra
        )
        self.nodes.append(node)
        return result

    def _constant(self, name: str, value: Any) -> str:
        return add_constant(self.graph, name, value)
