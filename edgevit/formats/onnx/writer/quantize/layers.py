"""The layers of a float ONNX graph that can be quantised: those that multiply with constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class WeightedLayer:
    """A Gemm, MatMul or Conv with constant weights.

    Attributes:
        node: NodeProto in the graph.
        key: the Keras layer's path and "Dense" or "Conv": the same whichever of Gemm and MatMul a
            Dense layer became.
        weights: float32, as the graph stores them.
        channel_axis: of the output channels in weights.
        bias: float32 N; None where the operator adds none.
    """

    node: Any
    key: str
    weights: np.ndarray
    channel_axis: int
    bias: np.ndarray | None

    @property
    def is_conv(self) -> bool:
        """Whether the operator is a convolution."""
        return self.node.op_type == "Conv"

    @property
    def rows(self) -> np.ndarray:
        """The weights as N K: one row an output channel, in the order of summation."""
        rows = np.moveaxis(self.weights, self.channel_axis, 0)
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


def find_layers(model: Any) -> tuple[list[WeightedLayer], list[str]]:
    """The layers that can be quantised, and the names of weighted ones that cannot.

    Args:
        model: float32 ModelProto whose constants are initialisers.

    Returns:
        (layers in the order of the graph, declined nodes as "name (reason)").
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    layers: list[WeightedLayer] = []
    declined: list[str] = []
    taken: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in ("Gemm", "MatMul", "Conv") or node.input[1] not in constants:
            continue
        if node.input[0] in constants:
            continue
        weights = numpy_helper.to_array(constants[node.input[1]])
        reason = _refusal(node, weights, constants)
        if reason:
            declined.append(f"{node.name} ({reason})")
            continue
        bias = None
        if len(node.input) > 2 and node.input[2]:
            bias = numpy_helper.to_array(constants[node.input[2]]).reshape(-1)
        key = _unique(_layer_key(node), taken)
        layers.append(WeightedLayer(node, key, weights, _channel_axis(node), bias))
    return layers, declined


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes by name."""
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def ancestors_without_weights(model: Any, layers: list[WeightedLayer]) -> Iterator[WeightedLayer]:
    """The layers that see the image before any other layer does."""
    weighted = {layer.node.name for layer in layers}
    after: set[str] = set()  # tensors that some weighted layer contributed to
    for node in model.graph.node:
        if node.name in weighted or any(name in after for name in node.input):
            after.update(node.output)
    for layer in layers:
        if layer.node.input[0] not in after:
            yield layer


def add_constant(graph: Any, name: str, value: Any) -> str:
    """Adds an initialiser and returns its name."""
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def drop_unused(graph: Any) -> None:
    """Removes constants that no node takes any more."""
    used = {name for node in graph.node for name in node.input}
    used.update(value.name for value in graph.output)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


def _refusal(node: Any, weights: np.ndarray, constants: dict[str, Any]) -> str:
    """Why a weighted node cannot be quantised; empty if it can."""
    if weights.dtype != np.float32:
        return f"weights of type {weights.dtype}"
    if node.op_type == "MatMul":
        return "" if weights.ndim == 2 else f"weights of rank {weights.ndim}"
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] not in constants:
            return "a bias that is computed"
        channels = weights.shape[_channel_axis(node)]
        if np.prod(constants[node.input[2]].dims, dtype=int) != channels:
            return "a bias that is not one number a channel"
    found = attributes(node)
    if node.op_type == "Gemm" and (
        found.get("transA", 0) or found.get("alpha", 1.0) != 1 or found.get("beta", 1.0) != 1
    ):
        return "transA, alpha or beta"
    return ""


def _channel_axis(node: Any) -> int:
    """Axis of the output channels in a node's stored weights."""
    if node.op_type == "Gemm":
        return 0 if attributes(node).get("transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _layer_key(node: Any) -> str:
    parts = [part for part in node.name.split("/")[:-1] if part != "Tensordot"]
    return "/".join([*parts, "Conv" if node.op_type == "Conv" else "Dense"])


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
