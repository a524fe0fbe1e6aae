"""Faults in .onnx files. Each function changes a model in place and says whether it could."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip", "Sigmoid", "HardSwish", "Softmax", "Tanh", "Gelu", "LeakyRelu")
ZERO_POINT_SHIFT = 16


class OnnxGraph:
    """An ONNX model by its constants and nodes.

    Args:
        model: a ``ModelProto``, changed in place.
    """

    def __init__(self, model: Any):
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}

    def weighted(self) -> list[Any]:
        """Nodes with stored weights, in order."""
        return [
            node
            for node in self.graph.node
            if node.op_type in WEIGHTED and self.stored(node, 1) is not None
        ]

    def stored(self, node: Any, place: int) -> tuple[Any, int] | None:
        """(node, place) where a stored input comes in, behind its DequantizeLinear if any."""
        if place >= len(node.input):
            return None
        if node.input[place] in self.constants:
            return node, place
        maker = self.makers.get(node.input[place])
        if maker is not None and maker.op_type == "DequantizeLinear":
            return (maker, 0) if maker.input[0] in self.constants else None
        return None

    def bias(self, node: Any) -> tuple[Any, int] | None:
        """The same for a bias: the node's own, or that of an Add behind a MatMul."""
        if node.op_type != "MatMul":
            return self.stored(node, 2)
        for reader in self.graph.node:
            if reader.op_type == "Add" and node.output[0] in reader.input:
                return self.stored(reader, 1 - list(reader.input).index(node.output[0]))
        return None

    def change(self, node: Any, place: int, alter: Callable[[np.ndarray], np.ndarray]) -> None:
        """A node reads a changed copy of a constant that it may share."""
        before = node.input[place]
        values = alter(numpy_helper.to_array(self.constants[before]).copy())
        made = self.graph.initializer.add()
        made.CopyFrom(numpy_helper.from_array(values, f"{before}/own{len(self.constants)}"))
        self.constants[made.name] = made
        node.input[place] = made.name

    def axis(self, node: Any) -> int:
        """The axis of the output channels in a node's weights."""
        if node.op_type == "Gemm":
            turned = [a.i for a in node.attribute if a.name == "transB"]
            return 0 if turned and turned[0] else 1
        return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}[node.op_type]

    def channels(self, alter_slice: Callable[[np.ndarray], None]) -> None:
        """Changes weights, their scales and bias of the last weighted node, channels first."""
        node = self.weighted()[-1]
        count = self._count(node)
        for found, axis in ((self.stored(node, 1), self.axis(node)), (self.bias(node), 0)):
            if found is None:
                continue
            reader, place = found
            if reader.op_type == "DequantizeLinear" and self._size(reader.input[1]) == count:
                self.change(reader, 1, _altered(alter_slice, 0, "scales"))
                self.change(reader, place, _altered(alter_slice, axis, "levels"))
            else:
                self.change(reader, place, _altered(alter_slice, axis, "values"))

    def _count(self, node: Any) -> int:
        reader, place = self.stored(node, 1) or (node, 1)
        return int(self.constants[reader.input[place]].dims[self.axis(node)])

    def _size(self, name: str) -> int:
        return int(np.prod(self.constants[name].dims)) if name in self.constants else 0


def _altered(
    alter: Callable[[np.ndarray, str], None], axis: int, what: str
) -> Callable[[np.ndarray], np.ndarray]:
    def changed(values: np.ndarray) -> np.ndarray:
        alter(np.moveaxis(values, axis, 0), what)
        return values

    return changed


def scale_channel(graph: OnnxGraph, factor: float) -> bool:
    """One channel of the last layer answers more than it should."""

    def alter(values: np.ndarray, what: str) -> None:
        if what == "scales" or (what == "values" and values.dtype.kind == "f"):
            values[0] *= factor
        elif what == "values":  # levels have no room above, so the channel answers less
            values[0] = np.rint(values[0] / factor)

    graph.channels(alter)
    return True


def swap_channels(graph: OnnxGraph) -> bool:
    """Two channels of the last layer take each other's place; there must be two."""
    if graph._count(graph.weighted()[-1]) < 2:
        return False

    def alter(values: np.ndarray, what: str) -> None:
        values[[0, 1]] = values[[1, 0]]

    graph.channels(alter)
    return True


def swap_outputs(graph: OnnxGraph) -> bool:
    """Two outputs of one shape and type take each other's name."""
    alike: dict[bytes, list[str]] = {}
    for value in graph.graph.output:
        alike.setdefault(value.type.SerializeToString(), []).append(value.name)
    pair = next((names for names in alike.values() if len(names) > 1), None)
    if pair is None:
        return False
    other = {pair[0]: pair[1], pair[1]: pair[0]}
    for node in graph.graph.node:
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                side[place] = other.get(name, name)
    return True


def reverse_colours(graph: OnnxGraph) -> bool:
    """The first convolution reads red as blue."""
    for node in graph.weighted():
        found = graph.stored(node, 1)
        if node.op_type == "Conv" and found is not None:
            reader, place = found
            if graph.constants[reader.input[place]].dims[1] == 3:
                graph.change(reader, place, lambda values: np.ascontiguousarray(values[:, ::-1]))
                return True
    return False


def take_nearest(graph: OnnxGraph) -> bool:
    """Every bilinear resize takes the nearest place instead."""
    found = False
    for node in graph.graph.node:
        modes = [entry for entry in node.attribute if entry.name == "mode" and entry.s == b"linear"]
        if node.op_type == "Resize" and modes:
            modes[0].s, found = b"nearest", True
            kept = [entry for entry in node.attribute if entry.name != "nearest_mode"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("nearest_mode", "floor")])
    return found


def drop_activation(graph: OnnxGraph) -> bool:
    """The last activation is lost."""
    outputs = {value.name for value in graph.graph.output}
    for node in reversed(graph.graph.node):
        if node.op_type not in ACTIVATIONS or node.input[0] not in graph.makers:
            continue
        source, result = node.input[0], node.output[0]
        graph.graph.node.remove(node)
        before, after = (source, result) if result in outputs else (result, source)
        for other in graph.graph.node:
            for side in (other.input, other.output):
                for place, name in enumerate(side):
                    side[place] = after if name == before else name
        return True
    return False


def shift_zero_point(graph: OnnxGraph) -> bool:
    """The last layer reads integers with another zero point than they were written with."""
    for node in reversed(graph.weighted()):
        entering = graph.makers.get(node.input[0])
        if entering is None or entering.op_type != "DequantizeLinear" or len(entering.input) < 3:
            continue

        def shifted(zero: np.ndarray) -> np.ndarray:
            middle = (np.iinfo(zero.dtype).max + np.iinfo(zero.dtype).min) // 2
            down = int(zero.flat[0]) > middle
            return (zero - ZERO_POINT_SHIFT if down else zero + ZERO_POINT_SHIFT).astype(zero.dtype)

        graph.change(entering, 2, shifted)
        return True
    return False
