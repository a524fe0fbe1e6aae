"""The tensors between the operators of a .tflite file, read from LiteRT after a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.core.samples import count_samples
from edgevit.formats.intermediate import IntermediateTensor, Levels, Product, Rounding
from edgevit.formats.session import dequantize
from edgevit.formats.tflite.operators import OPERATORS, Role, names_of
from edgevit.formats.tflite.runtime.file import is_constant, parse_model, tensor_name
from edgevit.formats.tflite.runtime.litert import LiteRTSession
from edgevit.formats.tflite.runtime.nodes import FileNode, list_nodes

ROUNDS = ("QUANTIZE", "DEQUANTIZE")
# What a layer may end in, behind the operator that carries its name.
ENDINGS = ("SOFTMAX", "LOGISTIC", *ROUNDS)
# Through these an exporter may move a normalisation's scale and offset into weights behind them.
MOVES = (*names_of(Role.MOVES), "MEAN")

# What activations inside an operator let through, by ActivationFunctionType of the schema.
FUSED_BOUNDS: Mapping[int, tuple[float, float]] = {
    1: (0.0, math.inf),
    2: (-1.0, 1.0),
    3: (0.0, 6.0),
}


class LiteRTIntermediateReader(LiteRTSession):
    """See :class:`edgevit.formats.intermediate.IntermediateReader`.

    Args:
        path: the file.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        ModelFileError: the file is damaged.
        RuntimeFailure: LiteRT refuses it.
    """

    def __init__(self, path: Path):
        super().__init__(path, "builtin", preserve_all=True)
        self.batch = self.inputs[0].shape[0] or 1
        self._details = {
            int(detail["index"]): detail for detail in self._interpreter.get_tensor_details()
        }
        graph = parse_model(path.read_bytes(), path.name)
        nodes = list(zip(graph.subgraphs[0].operators, list_nodes(graph), strict=True))
        self.tensors, self._indices = self._list(graph.subgraphs[0], nodes, _list_factors(graph))
        self.products = self._list_products(nodes)
        self._selected: tuple[str, ...] = ()

    def select(self, names: Sequence[str]) -> None:
        self._selected = tuple(names)

    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.bind_batch(batch)()
        found = {}
        for name in self._selected:
            index = self._indices[name]
            value = self._interpreter.get_tensor(index)
            value = dequantize(value, *self._details[index]["quantization"])
            found[name] = value.reshape(count_samples(batch), -1)  # B elements
        return found

    def _list(
        self, graph: Any, nodes: Sequence[tuple[Any, FileNode]], factors: Set[int]
    ) -> tuple[tuple[IntermediateTensor, ...], dict[str, int]]:
        moving = {int(index) for index in graph.inputs}  # depends on the image
        tensors, indices = [], {}
        made: dict[int, tuple[int, str]] = {-1: (-1, "")}  # (position, layer) of what is computed
        results = {int(index) for index in graph.outputs}
        stored: dict[int, str] = {}  # layer of weights that are unpacked while the file runs
        bare = _list_bare(nodes, factors)
        for position, (operator, node) in enumerate(nodes):
            if moving.isdisjoint(int(index) for index in operator.inputs):
                stored.update((int(index), node.layer) for index in operator.outputs)
                continue
            # The file's output is called after no layer; its weights are, or the last thing that
            # it is computed from.
            weights = (stored.get(int(index), "") for index in operator.inputs)
            layer = node.layer or next(filter(None, weights), "")
            if not layer and (node.op in ENDINGS or not results.isdisjoint(operator.outputs)):
                layer = max(made[i] for i in (-1, *map(int, operator.inputs)) if i in made)[1]
            for index in map(int, operator.outputs):
                moving.add(index)
                made[index] = position, layer
                name = tensor_name(graph.tensors[index])
                tensor = self._describe_tensor(index, name, layer, node.op, position)
                if tensor is not None and tensor.name not in indices:
                    tensor = _bound(tensor, operator)
                    alone = node.op == "DEPTHWISE_CONV_2D"
                    tensors.append(replace(tensor, bare=bare.get(index, ""), depthwise=alone))
                    indices[tensor.name] = index
        return tuple(tensors), indices

    def _describe_tensor(
        self, index: int, name: str, layer: str, op: str, position: int
    ) -> IntermediateTensor | None:
        """None for what is no activation: indices, shapes, sums in 32 bits."""
        detail = self._details.get(index)
        if detail is None:
            return None
        kind = np.dtype(detail["dtype"])
        shape = tuple(int(size) for size in detail["shape"])
        if kind.kind == "f":
            return IntermediateTensor(name, layer, op, position, shape)
        scale, zero = detail["quantization"]
        if kind.kind not in "iu" or kind.itemsize > 2 or not scale:
            return None
        levels = Levels.of_integers(kind, scale, zero)
        return IntermediateTensor(name, layer, op, position, shape, levels)

    def _list_products(self, nodes: Sequence[tuple[Any, FileNode]]) -> tuple[Product, ...]:
        names = {index: name for name, index in self._indices.items()}
        makers = {int(index): pair for pair in nodes for index in pair[0].outputs}
        found = []
        for operator, node in nodes:
            spec = OPERATORS.get(node.op)
            if spec is None or spec.weights_axis is None:
                continue
            entering, weights = (int(index) for index in operator.inputs[:2])
            if entering not in names or weights in makers:
                continue
            values = self._interpreter.get_tensor(weights)
            rows = np.moveaxis(values, spec.weights_axis, 0)  # N ...
            rows = rows.reshape(len(rows), -1).astype(np.float32)
            scales = self._details[weights]["quantization_parameters"]["scales"]
            steps = np.zeros(len(rows)) + (scales if len(scales) else 0.0)
            given = self._details[entering]
            rounding, step = Rounding.NONE, 0.0
            if len(scales) and np.dtype(given["dtype"]).kind == "f":
                rounding = Rounding.ROW if values.ndim == 2 else Rounding.RUN
            elif entering in makers and makers[entering][1].op == "QUANTIZE":
                before = int(makers[entering][0].inputs[0])
                if before in names:
                    rounding, step = Rounding.STORED, float(given["quantization"][0])
                    entering = before
            found.append(
                Product(
                    node.layer,
                    names[entering],
                    steps,
                    rows * steps[:, None].astype(np.float32) if len(scales) else rows,
                    inputs=given["shape"][-1] if values.ndim == 4 else values.shape[-1],
                    window=1 if values.ndim == 2 else int(np.prod(values.shape[1:3])),
                    depthwise=node.op == "DEPTHWISE_CONV_2D",
                    rounding=rounding,
                    step=step,
                )
            )
        return tuple(found)


def _bound(tensor: IntermediateTensor, operator: Any) -> IntermediateTensor:
    """The tensor with what an activation inside its operator lets through.

    A layer before that activation has values that the file holds nowhere.
    """
    fused = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
    low, high = FUSED_BOUNDS.get(fused, (-math.inf, math.inf))
    return replace(tensor, levels=tensor.levels and tensor.levels.limit(low, high))


def _list_factors(model: Any) -> set[int]:
    """Constants of one number."""
    return {
        index
        for index, tensor in enumerate(model.subgraphs[0].tensors)
        if is_constant(model, tensor) and math.prod(tensor.shape) == 1
    }


def _list_bare(nodes: Sequence[tuple[Any, FileNode]], factors: Set[int]) -> dict[int, str]:
    """Tensors that hold a centred value over its deviation, and no more: layer by tensor.

    Args:
        nodes: in the order in which they run.
        factors: constants of one number: a deviation may be the product of several roots and them.
    """
    inverse: set[int] = set()  # one over the deviation
    bare: dict[int, str] = {}
    for operator, node in nodes:
        inputs, outputs = ([int(i) for i in side] for side in (operator.inputs, operator.outputs))
        reads_inverse = not inverse.isdisjoint(inputs)
        scales_inverse = node.op == "MUL" and inverse | factors >= {*inputs}
        if node.op == "RSQRT" or (reads_inverse and (node.op in ROUNDS or scales_inverse)):
            inverse.update(outputs)
        elif node.op == "MUL" and reads_inverse:
            bare.update(dict.fromkeys(outputs, node.layer))
        elif node.op in (*ROUNDS, *MOVES) and inputs[0] in bare:
            bare.update(dict.fromkeys(outputs, bare[inputs[0]]))
    return bare
