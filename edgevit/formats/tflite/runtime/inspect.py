"""The contents of a .tflite file."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.errors import ModelFileError
from edgevit.core.inspection import Inspection, StoredTensor
from edgevit.core.tensors import TensorSpec
from edgevit.formats.tflite.runtime.file import (
    custom_op_names,
    declared_specs,
    is_constant,
    op_names,
    parse_model,
    tensor_name,
    tensor_shape,
    tensor_type,
)
from edgevit.formats.tflite.runtime.litert import LiteRTSession, count_partitions

Node = tuple[str, set[str]]  # name of an operator, element types that it touches
Specs = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def inspect_tflite(path: Path) -> Inspection:
    """Lists what is inside a .tflite file.

    Raises:
        ModelFileError: it is no TFLite file, or damaged.
        MissingDependencyError: ai-edge-litert is not installed.
        RuntimeFailure: LiteRT refuses it, although all its operators are builtins.
    """
    nodes, types, stored, custom, specs = _list_contents(path)
    if not custom:
        with LiteRTSession(path) as session:
            specs = session.inputs, session.outputs
    return Inspection.of(
        "tflite",
        path.stat().st_size,
        nodes,
        types,
        specs,
        stored,
        custom_ops=custom,
        partitions=None if custom else count_partitions(path),
    )


def _list_contents(
    path: Path,
) -> tuple[list[Node], list[str], list[StoredTensor], tuple[str, ...], Specs]:
    """(operators, element types, constants, custom operators, inputs and outputs) of a file.

    Nothing of it leads to the file in memory: a runtime needs memory for the weights itself.
    """
    model = parse_model(path.read_bytes(), str(path))
    nodes: list[Node] = []
    types: list[str] = []
    stored: list[StoredTensor] = []
    for graph, names in zip(model.subgraphs, op_names(model), strict=True):
        kinds = [tensor_type(tensor) for tensor in graph.tensors]
        types += kinds
        for operator, name in zip(graph.operators or [], names, strict=True):
            touched = [int(index) for index in (*operator.inputs, *operator.outputs)]
            if max(touched, default=0) >= len(kinds):
                raise ModelFileError(f"{path}: damaged ({name} reads a tensor that is not there).")
            nodes.append((name, {kinds[index] for index in touched if index >= 0}))
        for tensor, kind in zip(graph.tensors, kinds, strict=True):
            if is_constant(model, tensor):
                size_bytes = len(model.buffers[tensor.buffer].data)
                stored.append(
                    StoredTensor(tensor_name(tensor), tensor_shape(tensor), kind, size_bytes)
                )
    # With custom ones LiteRT may refuse to load it; what is inside can be told all the same.
    return nodes, types, stored, tuple(custom_op_names(model)), declared_specs(model)
