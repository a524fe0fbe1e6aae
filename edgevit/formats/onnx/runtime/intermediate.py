"""The tensors between the nodes of an .onnx file: a copy in memory gives them out as outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.core.samples import count_samples
from edgevit.formats.intermediate import IntermediateTensor, Levels, Product, Rounding
from edgevit.formats.layer_names import UNROUNDED, layer_of_node, strip_retrace
from edgevit.formats.onnx.runtime.file import read_model
from edgevit.formats.onnx.runtime.levels import MOVES, find_levels
from edgevit.formats.onnx.runtime.onnxruntime import OnnxRuntimeSession, load_model
from edgevit.formats.onnx.runtime.session import Infer

FLOATS = ("FLOAT", "FLOAT16", "DOUBLE")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


class OnnxIntermediateReader(OnnxRuntimeSession):
    """See :class:`edgevit.formats.intermediate.IntermediateReader`.

    Args:
        path: the file.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        ModelFileError: the file is damaged.
        RuntimeFailure: onnxruntime refuses it.
    """

    def __init__(self, path: Path):
        self._model = read_model(path, "Looking into an .onnx file", shapes=True)
        super().__init__(path)
        self.batch = self.inputs[0].shape[0] or 1
        self.tensors = _list(self._model.graph, {spec.name for spec in self.inputs}, self.batch)
        self.products = _list_products(self._model.graph)
        self._selected: tuple[str, ...] = ()

    def select(self, names: Sequence[str]) -> None:
        import onnx

        opened = onnx.ModelProto()
        opened.CopyFrom(self._model)
        given = {value.name for value in opened.graph.output}
        for name in names:
            if name not in given:
                opened.graph.output.append(onnx.ValueInfoProto(name=name))
        self._session = load_model(self.path, opened.SerializeToString(), self._threads)
        self._selected = tuple(names)

    def prepare(self, batch: dict[str, np.ndarray]) -> Infer:
        session = self._session
        return lambda: session.run(list(self._selected), batch)

    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        values, count = self.bind_batch(batch)(), count_samples(batch)
        return {
            name: np.asarray(value, dtype=np.float32).reshape(count, -1)  # B elements
            for name, value in zip(self._selected, values, strict=True)
        }


def _list(graph: Any, entries: set[str], batch: int) -> tuple[IntermediateTensor, ...]:
    """Float tensors that depend on the image; those that were quantised know their levels.

    Scales that are measured at run time, and what is made of them alone, are none of a layer's
    outputs, though a vector of them may be of the same size.
    """
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in graph.initializer}
    typed = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.output)}
    moving, scales = set(entries), set[str]()
    levels = find_levels(graph)
    found: list[tuple[IntermediateTensor, str]] = []
    bare: dict[str, str] = {}  # tensor -> normalisation that it comes from
    for position, node in enumerate(graph.node):
        read = moving.intersection(node.input)
        if not read:
            continue
        moving.update(name for name in node.output if name)
        if node.op_type == "DynamicQuantizeLinear":
            scales.add(node.output[1])
            continue
        if read <= scales:
            scales.update(node.output)
            continue
        for name in node.output:
            kind = typed.get(name)
            if not name or kind is None or TensorProto.DataType.Name(kind.elem_type) not in FLOATS:
                continue
            if is_copy(name):
                continue
            telling = name if "/" in name else node.name
            sizes = (size.dim_value or batch for size in kind.shape.dim)
            shape = tuple(sizes) if kind.HasField("shape") else ()
            if node.op_type == "LayerNormalization" and _is_bare(node, constants):
                bare[name] = name
            elif node.op_type in MOVES and node.input[0] in bare:
                bare[name] = bare[node.input[0]]
            tensor = IntermediateTensor(name, "", node.op_type, position, shape, levels.get(name))
            tensor = replace(tensor, depthwise=_groups(node) > 1)
            found.append((tensor, layer_of_node(telling)))
    layers = strip_retrace([layer for _, layer in found])
    by_name = {tensor.name: layer for (tensor, _), layer in zip(found, layers, strict=True)}
    return tuple(
        replace(tensor, layer=layer, bare=by_name.get(bare.get(tensor.name, ""), ""))
        for (tensor, _), layer in zip(found, layers, strict=True)
    )


def is_copy(name: str) -> bool:
    """Whether a name is of a copy on its way into an integer kernel, or of sums that leave one."""
    return name.rsplit("/", 1)[-1].startswith((*QUANTIZERS, UNROUNDED))


def _groups(node: Any) -> int:
    """Into how many groups a convolution splits its channels; 1 for any other node."""
    return next((entry.i for entry in node.attribute if entry.name == "group"), 1)


def _is_bare(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a LayerNormalization only normalises: the exporter folded its scale and offset."""
    from onnx import numpy_helper

    scale = constants.get(node.input[1])
    return (
        len(node.input) == 2
        and scale is not None
        and bool(np.all(numpy_helper.to_array(scale) == 1))
    )


def _list_products(graph: Any) -> tuple[Product, ...]:
    """Products with stored weights, named by the float tensor in front of any rounding."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}

    def read(name: str) -> np.ndarray:
        return numpy_helper.to_array(constants[name]).astype(np.float32)

    found = []
    for node in graph.node:
        if node.op_type not in ("Gemm", "MatMul", "Conv", "MatMulInteger"):
            continue
        stored = _stored_weights(node, made, constants)
        if stored is None:
            continue
        weights, scales = read(stored[0]), read(stored[1]) if stored[1] else np.zeros(1)
        is_conv = node.op_type == "Conv"
        rows = np.moveaxis(weights, 0 if is_conv else -1, 0)
        rows = rows.reshape(len(rows), -1)  # N ...
        steps = np.zeros(len(rows)) + scales
        entering, rounding, levels = node.input[0], Rounding.NONE, (0.0, -np.inf, np.inf)
        factors, offsets = np.ones(1), np.zeros(1)
        maker = made.get(entering)
        if maker is not None and maker.op_type == "DynamicQuantizeLinear":
            entering, rounding = maker.input[0], Rounding.RUN
        elif maker is not None and _is_dequantised(maker, constants):
            before = made.get(maker.input[0])
            if before is not None and before.op_type == "QuantizeLinear":
                rounding = Rounding.STORED
                entering, own, shifts = _find_steps(before, made, read)
                step, *zero = (numpy_helper.to_array(constants[name]) for name in maker.input[1:])
                levels = float(step), -np.inf, np.inf
                if set(before.input[1:]) <= constants.keys() and len(before.input) > 2 and zero:
                    grid = Levels.of_integers(zero[0].dtype, step, zero[0])
                    levels = float(step), grid.low.item(), grid.high.item()
                    # Channels with levels of their own are read as if they had one scale: what
                    # differs is in the weights.
                    factors = float(step) / own
                    offsets = float(step) * (shifts - float(zero[0]))
        # quantize_dynamic puts what it makes below the name of the node that was there.
        whole = node.op_type == "MatMulInteger"
        found.append(
            Product(
                layer_of_node(node.name.rpartition("/")[0] if whole else node.name),
                entering,
                steps,
                rows * steps[:, None].astype(np.float32) if stored[1] else rows,
                inputs=_inputs(node, weights),
                window=int(np.prod(weights.shape[2:])) if is_conv else 1,
                depthwise=is_conv and weights.shape[1] == 1,
                channels=1 if is_conv else -1,
                rounding=rounding,
                step=levels[0],
                low=levels[1],
                high=levels[2],
                factors=factors,
                offsets=offsets,
            )
        )
    layers = strip_retrace([product.layer for product in found])
    return tuple(
        replace(product, layer=layer) for product, layer in zip(found, layers, strict=True)
    )


def _find_steps(
    node: Any, made: dict[str, Any], read: Callable[[str], np.ndarray]
) -> tuple[str, np.ndarray, np.ndarray]:
    """What enters a QuantizeLinear, with the steps and zeros of its channels, which nodes in front
    of it may hold: (name of the floats, steps: C or one, zeros: C or one)."""
    entering, steps, zeros = node.input[0], np.ones(1), np.zeros(1)
    if len(node.input) > 2:
        steps, zeros = (read(name).reshape(-1) for name in node.input[1:3])
    while entering.rsplit("/", 1)[-1].startswith("QuantizeLinear_"):
        maker = made[entering]
        if maker.op_type == "Div":
            steps = steps * read(maker.input[1]).reshape(-1)
        elif maker.op_type == "Add":
            zeros = zeros + read(maker.input[1]).reshape(-1)
        entering = maker.input[0]
    return entering, steps, zeros


def _inputs(node: Any, weights: np.ndarray) -> int:
    """Numbers that enter a product at one position."""
    if node.op_type != "Conv":
        return int(weights.shape[0])
    groups = next((part.i for part in node.attribute if part.name == "group"), 1)
    return int(groups * weights.shape[1])


def _stored_weights(
    node: Any, made: dict[str, Any], constants: dict[str, Any]
) -> tuple[str, str] | None:
    """Names of (weights, their scales or ""); None where the second factor is computed."""
    name = node.input[1]
    if node.op_type == "MatMulInteger":
        scales = f"{name}_scale"  # as quantize_dynamic calls them; another exporter's are unknown
        return (name, scales) if {name, scales} <= constants.keys() else None
    if name in constants:
        return name, ""
    maker = made.get(name)
    if maker is not None and _is_dequantised(maker, constants) and maker.input[0] in constants:
        return maker.input[0], maker.input[1]
    return None


def _is_dequantised(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a node is a DequantizeLinear by constants."""
    known = all(name in constants for name in node.input[1:])
    return bool(node.op_type == "DequantizeLinear" and known)
