"""The layers of a float ONNX graph that can be quantised: those that multiply with constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.base.naming import take_name
from edgevit.formats.onnx.writer.graph import (
    attribute,
    constant,
    dims,
    optional,
    readers,
    scalar,
    sole_reader,
)

FEW_PRODUCTS = 64  # for each number that is returned


@dataclass(frozen=True)
class WeightedLayer:
    """A Gemm, MatMul or Conv with constant weights.

    Attributes:
        node: the operator.
        key: the Keras layer's path and "Dense" or "Conv": the same whichever of Gemm and MatMul a
            Dense layer became.
        weights: float32, as the graph stores them.
        channel_axis: of the output channels in weights.
        bias: float32 N; None where the operator adds none.
    """

    node: ir.Node
    key: str
    weights: np.ndarray
    channel_axis: int
    bias: np.ndarray | None

    @property
    def is_conv(self) -> bool:
        """Whether the operator is a convolution."""
        return self.node.op_type == "Conv"

    @property
    def result(self) -> ir.Value:
        """What leaves the layer in 8 bits: behind an activation that cuts at zero, if one follows.

        Levels end where the activation does, so that rounding to them is the activation too.
        """
        value = self.node.outputs[0]
        after = sole_reader(value) if self.is_conv else None
        if after is None or after.op_type not in ("Relu", "Clip") or after.inputs[0] is not value:
            return value
        ends_at_zero = after.op_type == "Relu" or scalar(optional(after, 1)) == 0
        return after.outputs[0] if ends_at_zero else value

    @property
    def result_key(self) -> str:
        """How a record calls what leaves a convolution: ranges of before an activation differ."""
        behind = self.result is not self.node.outputs[0]
        return f"{self.key}/{'activated' if behind else 'out'}"

    @property
    def is_depthwise(self) -> bool:
        """Whether every output channel has a single input channel, and its own."""
        groups = attribute(self.node, "group", 1) if self.is_conv else 1
        return groups > 1 and groups == len(self.weights) and self.weights.shape[1] == 1

    @property
    def is_padded(self) -> bool:
        """Whether a convolution sees zeros around the image."""
        automatic = attribute(self.node, "auto_pad", "NOTSET")
        return any(attribute(self.node, "pads", ())) or automatic not in ("NOTSET", "VALID")

    @property
    def columns(self) -> np.ndarray:
        """Which input channel each weight of a convolution meets. int N C/groups."""
        width, inner = self.weights.shape[:2]
        groups = attribute(self.node, "group", 1)
        first = np.arange(width) // (width // groups) * inner
        return first[:, None] + np.arange(inner)

    @property
    def coverage(self) -> np.ndarray:
        """Share of the results for which each place of a kernel lies on the image."""
        window = self.weights.shape[2:]
        lengths = dims(self.node.inputs[0])[2:]
        pads = list(attribute(self.node, "pads", [0] * 2 * len(window)))
        strides = list(attribute(self.node, "strides", [1] * len(window)))
        dilations = list(attribute(self.node, "dilations", [1] * len(window)))
        shares = np.ones(window)
        if len(lengths) != len(window):
            return shares
        for axis, (size, length) in enumerate(zip(window, lengths, strict=True)):
            if length is None:
                continue
            before, after = pads[axis], pads[axis + len(window)]
            reach = dilations[axis] * (size - 1)
            starts = np.arange(-before, length + after - reach, strides[axis])
            places = starts[:, None] + dilations[axis] * np.arange(size)
            inside = ((places >= 0) & (places < length)).mean(axis=0)
            shares *= inside.reshape(-1, *(1,) * (len(window) - 1 - axis))
        return shares

    @property
    def rows(self) -> np.ndarray:
        """The weights as N K: one row an output channel, in the order of summation."""
        return self.rows_of(self.weights)

    def rows_of(self, weights: np.ndarray) -> np.ndarray:
        """Weights of the shape of this layer's, likewise."""
        rows = np.moveaxis(weights, self.channel_axis, 0)
        if self.is_conv and rows.ndim > 2:
            rows = np.moveaxis(rows, 1, -1)  # kernels run over pixels, then over channels
        return np.ascontiguousarray(rows.reshape(rows.shape[0], -1))

    def stored(self, rows: np.ndarray) -> np.ndarray:
        """Values of the shape of :attr:`rows`, as the graph stores weights."""
        moved = np.moveaxis(self.weights, self.channel_axis, 0).shape
        if self.is_conv and len(moved) > 2:
            values = np.moveaxis(rows.reshape(moved[0], *moved[2:], moved[1]), -1, 1)
        else:
            values = rows.reshape(moved)
        return np.ascontiguousarray(np.moveaxis(values, 0, self.channel_axis))


def find_layers(model: ir.Model) -> tuple[list[WeightedLayer], list[str]]:
    """The layers that can be quantised, and the names of weighted ones that cannot.

    Args:
        model: in float32.

    Returns:
        (layers in the order of the graph, declined nodes as "name (reason)").
    """
    layers: list[WeightedLayer] = []
    declined: list[str] = []
    taken: set[str] = set()
    for node in model.graph:
        if node.op_type not in ("Gemm", "MatMul", "Conv"):
            continue
        weights = constant(node.inputs[1])
        if weights is None or constant(node.inputs[0]) is not None:
            continue
        reason = _refusal(node, weights)
        if reason:
            declined.append(f"{node.name} ({reason})")
            continue
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None:
            bias = bias.reshape(-1)
        key = take_name(_layer_key(node), taken)
        layers.append(WeightedLayer(node, key, weights, _channel_axis(node), bias))
    return layers, declined


def split_light(
    layers: list[WeightedLayer],
) -> tuple[list[WeightedLayer], list[WeightedLayer]]:
    """(All others, convolutions of few products that stand alone between operators on floats).

    Alone stands what no weighted layer reads anything of, and what reads floats that are computed
    and returns floats that are computed with: a depthwise convolution between two swishes. Integers
    would be made of what enters and leaves it for the sake of a few products each. A float kernel
    takes less time, and rounds nothing. Of one pixel there is little to round, and weights are most
    of what is read: those in the middle stay. Where there are no other layers, they are none.
    """
    weighted = {layer.node for layer in layers}
    written = {layer.result for layer in layers if layer.is_conv}
    read = {layer.node.inputs[0] for layer in layers}
    light = [
        layer
        for layer in layers
        if layer.is_conv
        and layer.weights[0].size <= FEW_PRODUCTS
        and (
            not _leads_to(layer.node, weighted)
            or (
                layer.node.inputs[0] not in written
                and layer.result not in read
                and any(length != 1 for length in dims(layer.node.outputs[0])[2:])
            )
        )
    ]
    others = [layer for layer in layers if layer not in light]
    return (others, light) if others else (layers, [])


def _leads_to(node: ir.Node, wanted: set[ir.Node]) -> bool:
    """Whether one of some nodes reads what a node returns, or anything that comes of it."""
    waiting, seen = [node], {node}
    while waiting:
        for output in waiting.pop().outputs:
            for reader in readers(output):
                if reader in wanted:
                    return True
                if reader not in seen:
                    seen.add(reader)
                    waiting.append(reader)
    return False


def layers_before_weights(model: ir.Model, layers: list[WeightedLayer]) -> Iterator[WeightedLayer]:
    """The layers that see the image before any other layer does."""
    weighted = {layer.node for layer in layers}
    behind: set[ir.Value | None] = set()  # values that some weighted layer contributed to
    for node in model.graph:
        if node in weighted or any(value in behind for value in node.inputs):
            behind.update(node.outputs)
    return (layer for layer in layers if layer.node.inputs[0] not in behind)


def _refusal(node: ir.Node, weights: np.ndarray) -> str:
    """Why a weighted node cannot be quantised; empty if it can."""
    if weights.dtype != np.float32:
        return f"weights of type {weights.dtype}"
    if node.op_type == "MatMul":
        return "" if weights.ndim == 2 else f"weights of rank {weights.ndim}"
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = constant(node.inputs[2])
        if bias is None:
            return "a bias that is computed"
        if bias.size != weights.shape[_channel_axis(node)]:
            return "a bias that is not one number a channel"
    if node.op_type == "Gemm" and (
        attribute(node, "transA", 0)
        or attribute(node, "alpha", 1.0) != 1
        or attribute(node, "beta", 1.0) != 1
    ):
        return "transA, alpha or beta"
    return ""


def _channel_axis(node: ir.Node) -> int:
    """Axis of the output channels in a node's stored weights."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _layer_key(node: ir.Node) -> str:
    parts = [part for part in (node.name or "").split("/")[:-1] if part != "Tensordot"]
    return "/".join([*parts, "Conv" if node.op_type == "Conv" else "Dense"])
