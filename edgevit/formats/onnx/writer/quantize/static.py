"""Static int8 for ONNX: QuantizeLinear and DequantizeLinear around every weighted layer.

What is quantised: the inputs of Gemm, MatMul and Conv with constant weights, the weights (one scale
an output channel), their biases (int32, scale = input scale * weight scale), and the outputs of
Conv, since onnxruntime has no integer convolution that answers in float. A convolution of few
products that would be rounded on both sides for their sake stays float32 (a mask of six classes
from sixteen channels, a depthwise one between two swishes), and so does everything else:
normalisation, softmax, activations and residual sums, which lose most in 8 bits and take little
time; and products of two activations, whose 8-bit form is slower on CPUs.

Activations are uint8 with a zero point, weights int8 and symmetric: see
docs/decisions/0010-int8-onnx.md. Where the ranges of single channels are known, each channel of an
image has levels of its own: integer kernels know one scale, and the factors between are in the
weights of the convolutions before and behind, or in the DequantizeLinear in front of what is float
(see :mod:`.channels`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.base.errors import ExportError
from edgevit.formats.layer_names import UNROUNDED
from edgevit.formats.onnx.writer.graph import (
    add_constant,
    constant,
    dims,
    forget_shapes,
    made_by,
    named_node,
    optional,
    remove_unread,
    scalar,
    sole_reader,
    split_off,
)
from edgevit.formats.onnx.writer.quantize.channels import (
    adapt_weights,
    choose_levels,
    correct_bias,
    scale_weights,
)
from edgevit.formats.onnx.writer.quantize.cut_ranges import cut_ranges
from edgevit.formats.onnx.writer.quantize.layers import (
    WeightedLayer,
    find_layers,
    split_light,
)
from edgevit.quantization.levels import (
    Affine,
    ChannelLevels,
    affine_of,
    bias_floor,
    bias_levels,
    weight_levels,
)
from edgevit.quantization.observer import ChannelRanges

Ranges = dict[str, tuple[float, float]]
STEPS = "_steps"  # behind the name of a QuantizeLinear, of what divides by those of channels


def quantize_static(
    model: ir.Model,
    ranges: Ranges,
    channels: Mapping[str, ChannelRanges] | None = None,
    paired: bool = False,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Quantises a float graph in place.

    Args:
        model: in float32.
        ranges: (smallest, largest) of what enters and leaves each layer, as
            :func:`edgevit.formats.onnx.writer.quantize.ranges.observe` records them.
        channels: of each channel of what enters and leaves convolutions, likewise.
        paired: whether weights of convolutions are such that processors without VNNI saturate on no
            pair of products within the ranges of the channels. Where these are not known, and in
            Dense layers, they always are.

    Returns:
        (lines for the manifest, of these the one about processors where the file is further off,
        if there are any).

    Raises:
        ExportError: no layer to quantise, or the ranges are those of another graph.
    """
    layers, declined = find_layers(model)
    if not layers:
        raise ExportError("there is no Gemm, MatMul or Conv with constant weights to quantise.")
    check_ranges(layers, ranges)
    layers, light = split_light(layers)
    declined += [f"{layer.node.name} (its few products cost less than rounding)" for layer in light]
    cut = cut_ranges(layers, ranges)
    writer = _Writer(model.graph, layers, cut, channels or {}, paired)
    for layer in layers:
        writer.write(layer)
    drop_activations(model)
    remove_unread(model)
    forget_shapes(model)
    left = (f"left in float32: {', '.join(declined)}",) if declined else ()
    weights = f"8-bit inputs and int8 weights a channel in {len(layers)} layers, int32 biases"
    caveats = (describe_saturation(len(writer.saturating)),) if writer.saturating else ()
    return (weights, *left, *caveats), caveats


def describe_saturation(layers: int) -> str:
    """A line about convolutions whose sums of products do not fit into 16 bits."""
    return (
        f"on x86 processors without VNNI, sums of products may saturate in {layers} "
        f"{'convolution' if layers == 1 else 'convolutions'}, and the outputs be far off; "
        "'edgevit export --x86 any' writes weights that suit them"
    )


def range_keys(layer: WeightedLayer) -> list[str]:
    """What a record says of one layer."""
    keys = [f"{layer.key}/in", f"{layer.key}/weights"]
    return [*keys, layer.result_key] if layer.is_conv else keys


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


def drop_activations(model: ir.Model) -> None:
    """Leaves out activations that cut at zero where levels that end there alone read them.

    Of convolutions only: what a Dense layer returns is looked at where its own activation ends.
    """
    for node in model.graph:
        if node.op_type != "QuantizeLinear":
            continue
        reader = made_by(optional(node, 0), "Div")  # by the steps of channels
        if reader is None or reader.name != f"{node.name}{STEPS}":
            reader = node
        before = made_by(optional(reader, 0), "Relu", "Clip")
        if before is None or sole_reader(before.outputs[0]) is not reader:
            continue
        if made_by(before.inputs[0], "Conv", "ConvTranspose") is None:
            continue
        zeros = constant(node.inputs[2])
        ends_at_zero = before.op_type == "Relu" or scalar(optional(before, 1)) == 0
        if ends_at_zero and zeros is not None and not zeros.any():
            reader.replace_input_with(0, before.inputs[0])


class _Writer:
    """Puts layers between QuantizeLinear and DequantizeLinear, in the order of the graph."""

    def __init__(
        self,
        graph: ir.Graph,
        layers: list[WeightedLayer],
        ranges: Ranges,
        channels: Mapping[str, ChannelRanges],
        paired: bool,
    ):
        self.graph = graph
        self.ranges = ranges
        self.channels = channels
        self.paired = paired
        self.readers: dict[ir.Value | None, list[WeightedLayer]] = {}
        for layer in layers:
            self.readers.setdefault(layer.node.inputs[0], []).append(layer)
        self.quantized: dict[ir.Value, Quantised] = {}  # by the float tensor
        self.scalars: dict[tuple[ir.Node, str], tuple[ir.Value, ir.Value]] = {}
        self.stored: dict[tuple[ir.Value, bytes], tuple[ir.Value, ...]] = {}
        # weights, scales -> levels, scales, zeros
        self.saturating: list[WeightedLayer] = []  # where processors without VNNI may

    def write(self, layer: WeightedLayer) -> None:
        node = layer.node
        entering = self._quantized_input(layer)
        leaving = self._choose(layer.result, layer.result_key, layer) if layer.is_conv else None
        weights, bias = adapt_weights(layer, entering.channels, leaving)
        rows, scale = layer.rows_of(weights), entering.affine.scale
        floor = None if bias is None else bias_floor(bias, scale)
        known = self.channels.get(f"{layer.key}/in")
        scales = scale_weights(layer, rows, floor, entering.channels, known, self.paired)
        if not self.paired and layer.is_conv:
            most = scale_weights(layer, rows, floor, entering.channels, known)
            self.saturating += [layer] if (most > scales).any() else []
        rounded = layer.stored(weight_levels(rows, scales) * scales[:, None])
        bias = correct_bias(layer, weights, rounded, bias, entering.channels, known)
        node.replace_input_with(0, entering.value)
        node.replace_input_with(1, self._quantized_weights(layer, rows, scales))
        if bias is not None:
            bias_scales = (scale * scales).astype(np.float32)
            levels = add_constant(node, bias_levels(bias, bias_scales), "bias_levels")
            both = levels, add_constant(node, bias_scales, "bias_scale")
            node.resize_inputs(3)
            node.replace_input_with(2, self._dequantize(node, "bias", *both, axis=0))
        if layer.is_conv:
            self._quantize_output(layer, leaving)

    def _choose(
        self, value: ir.Value, key: str, writer: WeightedLayer | None = None
    ) -> ChannelLevels | None:
        """Levels of the channels of a tensor, if they are known and no Gemm reads it.

        Zero has one level where it is padded with, or where levels end at it as an activation
        does.
        """
        readers = self.readers.get(value, [])
        if not all(layer.is_conv for layer in readers):
            return None
        cut = writer is not None and writer.result is not writer.node.outputs[0]
        one_zero = cut or any(layer.is_padded for layer in readers)
        return choose_levels(
            *self.ranges[key], self.channels.get(key), readers, one_zero, self.paired
        )

    def _quantized_input(self, layer: WeightedLayer) -> Quantised:
        node, value = layer.node, layer.node.inputs[0]
        assert value is not None
        if value not in self.quantized:
            affine = affine_of(*self.ranges[f"{layer.key}/in"])
            levels = self._choose(value, f"{layer.key}/in") if layer.is_conv else None
            down = self._round(node, "input", value, affine, levels)
            up = self._read(node, "input", down[-1].outputs[0], affine)
            self.graph.insert_before(node, (*down, *up))
            self.quantized[value] = Quantised(up[-1].outputs[0], affine, levels)
        return self.quantized[value]

    def _quantize_output(self, layer: WeightedLayer, levels: ChannelLevels | None) -> None:
        """Integer kernels round to one scale; floats behind them are read by each channel's own."""
        node, result = layer.node, layer.result
        affine = affine_of(*self.ranges[layer.result_key])
        layers = self.readers.get(result, [])
        outer = split_off(result, f"{node.name}/{UNROUNDED}")
        down = self._round(node, "output", node.outputs[0], affine)
        if levels is None or levels.alike:
            up = self._read(node, "output", down[-1].outputs[0], affine, outer)
            self.graph.insert_after(node, (*down, *up))
            self.quantized[outer] = Quantised(outer, affine, None)
        else:
            exact = self._read(node, "output", down[-1].outputs[0], affine)
            up = self._read(node, "channels", down[-1].outputs[0], levels, outer)
            self.graph.insert_after(node, (*down, *exact, *up))
            self.quantized[outer] = Quantised(exact[-1].outputs[0], affine, levels)
        self.readers[outer] = layers

    def _round(
        self,
        node: ir.Node,
        role: str,
        value: ir.Value,
        affine: Affine,
        levels: ChannelLevels | None = None,
    ) -> list[ir.Node]:
        """Nodes that make levels of floats, the last of them QuantizeLinear.

        Where channels have steps of their own, they are divided by these first, and their zeros
        added. A QuantizeLinear with an axis does the same, but for the ties of what lies exactly
        between two levels, but onnxruntime brings it behind the Transpose to channels last, where
        its kernel takes 34 ns a number and each of these operators less than one.
        """
        name = f"{node.name}/{role}/QuantizeLinear"
        if levels is None or levels.alike:
            inputs = [value, *self._scalars(node, role, affine)]
            return [named_node("QuantizeLinear", inputs, name)]
        steps, zeros = self._vectors(node, role, levels, value)
        nodes = [named_node("Div", [value, steps], f"{name}{STEPS}")]
        if zeros is not None:
            nodes.append(named_node("Add", [nodes[-1].outputs[0], zeros], f"{name}_zeros"))
        inputs = [nodes[-1].outputs[0], *self._plain(node, role, levels)]
        return [*nodes, named_node("QuantizeLinear", inputs, name)]

    def _read(
        self,
        node: ir.Node,
        role: str,
        value: ir.Value,
        levels: Affine | ChannelLevels,
        result: ir.Value | None = None,
    ) -> list[ir.Node]:
        """Nodes that make floats of levels, the first of them DequantizeLinear.

        Where channels have steps of their own, they are multiplied by these behind it, see
        :meth:`_round`. That also keeps onnxruntime from taking what lies between this and a
        QuantizeLinear for an integer kernel, which would have one scale only.
        """
        name, results = f"{node.name}/{role}/DequantizeLinear", [result] if result else []
        if isinstance(levels, Affine):
            inputs = [value, *self._scalars(node, role, levels)]
            return [named_node("DequantizeLinear", inputs, name, outputs=results)]
        steps, zeros = self._vectors(node, role, levels, node.outputs[0], -1)
        nodes = [named_node("DequantizeLinear", [value, *self._plain(node, role, levels)], name)]
        if zeros is not None:
            nodes.append(named_node("Add", [nodes[-1].outputs[0], zeros], f"{name}_zeros"))
        last = [nodes[-1].outputs[0], steps]
        return [*nodes, named_node("Mul", last, f"{name}{STEPS}", outputs=results)]

    def _scalars(self, node: ir.Node, role: str, affine: Affine) -> tuple[ir.Value, ir.Value]:
        key = (node, role)
        if key not in self.scalars:
            self.scalars[key] = (
                add_constant(node, np.asarray(affine.scale), f"{role}_scale"),
                add_constant(node, np.asarray(np.uint8(affine.zero_point)), f"{role}_zero_point"),
            )
        return self.scalars[key]

    def _vectors(
        self, node: ir.Node, role: str, levels: ChannelLevels, like: ir.Value, sign: int = 1
    ) -> tuple[ir.Value, ir.Value | None]:
        """(Steps of channels, their zeros times a sign; None where all have one zero.)"""
        shape = (-1, *(1,) * ((len(dims(like)) or 4) - 2))
        steps = add_constant(node, levels.steps.reshape(shape), f"{role}_steps")
        if _has_one_zero(levels):
            return steps, None
        zeros = sign * levels.zeros.astype(np.float32).reshape(shape)
        return steps, add_constant(node, zeros, f"{role}_zeros")

    def _plain(self, node: ir.Node, role: str, levels: ChannelLevels) -> tuple[ir.Value, ir.Value]:
        """A scale of one, and the zero that all channels share, or none."""
        zero = levels.zeros[0] if _has_one_zero(levels) else 0
        return (
            add_constant(node, np.asarray(np.float32(1)), f"{role}_one"),
            add_constant(node, np.asarray(np.uint8(zero)), f"{role}_zero"),
        )

    def _quantized_weights(
        self, layer: WeightedLayer, rows: np.ndarray, scales: np.ndarray
    ) -> ir.Value:
        node, source = layer.node, layer.node.inputs[1]
        assert source is not None
        levels = weight_levels(rows, scales)
        key = source, levels.tobytes() + scales.tobytes()
        if key not in self.stored:
            self.stored[key] = (
                add_constant(node, layer.stored(levels), "weights"),
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


def _has_one_zero(levels: ChannelLevels) -> bool:
    return bool((levels.zeros == levels.zeros[0]).all())


@dataclass(frozen=True, eq=False)
class Quantised:
    """A tensor in 8 bits.

    Attributes:
        value: through 8 bits, as integer kernels read it.
        affine: its levels.
        channels: what single channels make of them; None: the same.
    """

    value: ir.Value
    affine: Affine
    channels: ChannelLevels | None
