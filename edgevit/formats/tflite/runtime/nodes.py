"""The operators of a .tflite file by name and layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit.formats.layer_names import layers_of_tensors
from edgevit.formats.tflite.runtime.file import is_constant, op_names, parse_model, tensor_name


@dataclass(frozen=True)
class FileNode:
    """One operator of the first subgraph.

    Attributes:
        name: of the tensor that it computes, without what was fused into it.
        op: operator.
        layer: path of the Keras layer; empty where it cannot be told.
    """

    name: str
    op: str
    layer: str


def read_nodes(path: Path) -> list[FileNode]:
    """Operators of the first subgraph, in the order of the file.

    Raises:
        ModelFileError: it is no TFLite file, or damaged.
    """
    return list_nodes(parse_model(path.read_bytes(), str(path)))


def list_nodes(model: Any) -> list[FileNode]:
    """As :func:`read_nodes`, of a ``ModelT``."""
    graph = model.subgraphs[0]
    names = [tensor_name(graph.tensors[operator.outputs[0]]) for operator in graph.operators]
    telling = [
        name if "/" in name else _weight_name(model, operator)
        for name, operator in zip(names, graph.operators, strict=True)
    ]
    layers = layers_of_tensors(telling)
    return [
        FileNode(name.split(";")[0], op, layer)
        for name, op, layer in zip(names, op_names(model)[0], layers, strict=True)
    ]


def _weight_name(model: Any, operator: Any) -> str:
    """Name of an operator's weights: the file's output is called after no layer."""
    tensors = model.subgraphs[0].tensors
    used = [tensors[index] for index in operator.inputs if index >= 0]
    names = [tensor_name(tensor) for tensor in used if is_constant(model, tensor)]
    # An output's own name, such as "StatefulPartitionedCall:0", may be in front of its weights'.
    return next((name for name in names if ":" not in name.partition("/")[0] and "/" in name), "")
