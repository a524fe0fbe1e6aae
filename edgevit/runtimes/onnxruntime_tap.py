"""The tensors between the nodes of an .onnx file: a copy in memory gives them out as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.core.errors import MissingDependencyError, ModelFileError
from edgevit.runtimes.inner_tensors import InnerTensor
from edgevit.runtimes.layer_names import layer_of_node, strip_retrace
from edgevit.runtimes.onnxruntime import OnnxRuntimeSession

FLOATS = ("FLOAT", "FLOAT16", "DOUBLE")
MOVES = ("Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze")  # values stay
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


class OnnxRuntimeTap(OnnxRuntimeSession):
    """See :class:`edgevit.runtimes.inner_tensors.Tap`.

    Args:
        path: the file.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        ModelFileError: the file is damaged.
        RuntimeFailure: onnxruntime refuses it.
    """

    def __init__(self, path: Path):
        try:
            import onnx
        except ImportError:
            raise MissingDependencyError("onnx", "onnx", "Looking into an .onnx file") from None
        try:
            self._model = onnx.load(str(path))
            shaped = onnx.shape_inference.infer_shapes(self._model)
        except Exception as error:  # protobuf's and onnx's errors share no public base class
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(f"{path}: the ONNX file is damaged ({reason}).") from None
        super().__init__(path)
        self.batch = self.inputs[0].shape[0] or 1
        self.tensors = _list(shaped.graph, self.inputs[0].name, self.batch)
        self.input_noise = _input_noise(shaped.graph)
        self._watched: tuple[str, ...] = ()

    def watch(self, names: Sequence[str]) -> None:
        import onnx

        opened = onnx.ModelProto()
        opened.CopyFrom(self._model)
        given = {value.name for value in opened.graph.output}
        for name in names:
            if name not in given:
                opened.graph.output.append(onnx.ValueInfoProto(name=name))
        self._session = self._load(opened.SerializeToString())
        self._watched = tuple(names)

    def run_chunk(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        values = self._run({self.inputs[0].name: batch}, list(self._watched))
        return {
            name: np.asarray(value, dtype=np.float32).reshape(len(batch), -1)  # B elements
            for name, value in zip(self._watched, values, strict=True)
        }


def _list(graph: Any, entry: str, batch: int) -> tuple[InnerTensor, ...]:
    """Float tensors that depend on the image; those that were quantised know their levels."""
    from onnx import TensorProto, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    typed = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.output)}
    moving = {entry}
    levels: dict[str, tuple[float, float, float]] = {}
    found: list[tuple[InnerTensor, str]] = []
    for place, node in enumerate(graph.node):
        if moving.isdisjoint(node.input):
            continue
        moving.update(name for name in node.output if name)
        if node.op_type == "DequantizeLinear" and all(n in constants for n in node.input[1:]):
            values = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
            if len(values) == 2 and values[0].size == 1:
                levels[node.output[0]] = _limits(float(values[0]), values[1])
        if node.op_type in MOVES and node.input[0] in levels:
            levels.update((name, levels[node.input[0]]) for name in node.output)
        for name in node.output:
            kind = typed.get(name)
            if not name or kind is None or TensorProto.DataType.Name(kind.elem_type) not in FLOATS:
                continue
            if name.rsplit("/", 1)[-1].startswith(QUANTIZERS):
                continue  # a copy on its way into an integer kernel
            telling = name if "/" in name else node.name
            sizes = (size.dim_value or batch for size in kind.shape.dim)
            shape = tuple(sizes) if kind.HasField("shape") else ()
            step, low, high = levels.get(name, (0.0, -np.inf, np.inf))
            partial = node.op_type == "LayerNormalization" and _is_bare(node, constants)
            tensor = InnerTensor(name, "", node.op_type, place, shape, step, low, high, partial)
            found.append((tensor, layer_of_node(telling)))
    layers = strip_retrace([layer for _, layer in found])
    return tuple(
        replace(tensor, layer=layer) for (tensor, _), layer in zip(found, layers, strict=True)
    )


def _limits(scale: float, zero: np.ndarray) -> tuple[float, float, float]:
    """(step, value of the lowest level, value of the highest)."""
    limits, middle = np.iinfo(zero.dtype), int(zero)
    return scale, (limits.min - middle) * scale, (limits.max - middle) * scale


def _is_bare(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a LayerNormalization only normalises: the exporter folded its scale and offset."""
    from onnx import numpy_helper

    scale = constants.get(node.input[1])
    return (
        len(node.input) == 2
        and scale is not None
        and bool(np.all(numpy_helper.to_array(scale) == 1))
    )


def _input_noise(graph: Any) -> dict[str, np.ndarray]:
    """What rounding the input of each weighted layer puts on its output, by layer.

    Returns:
        Mean square for each output channel: a step squared over 12 for every input, through the
        squares of the weights.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    found: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type not in ("Gemm", "MatMul", "Conv"):
            continue
        entering, weights = (_dequantised(made.get(name), constants) for name in node.input[:2])
        if entering is None or weights is None or weights.input[0] not in constants:
            continue
        step = float(numpy_helper.to_array(constants[entering.input[1]]))
        levels = numpy_helper.to_array(constants[weights.input[0]]).astype(np.float64)
        scales = numpy_helper.to_array(constants[weights.input[1]]).astype(np.float64)
        rows = np.moveaxis(levels, 0 if node.op_type == "Conv" else -1, 0)  # channels ...
        squares = np.square(rows.reshape(len(rows), -1)).sum(axis=1)
        found[layer_of_node(node.name)] = step**2 / 12 * squares * scales**2
    return found


def _dequantised(node: Any, constants: dict[str, Any]) -> Any:
    """The node, if it is a DequantizeLinear by constants; else None."""
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return node if all(name in constants for name in node.input[1:]) else None
