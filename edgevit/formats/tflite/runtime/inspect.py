"""The contents of a .tflite file."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.errors import ModelFileError
from edgevit.core.inspection import Inspection, StoredTensor
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


def inspect_tflite(path: Path) -> Inspection:
    """Lists what is inside a .tflite file.

    Raises:
        ModelFileError: it is no TFLite file, or damaged.
        MissingDependencyError: ai-edge-litert is not installed.
        RuntimeFailure: LiteRT refuses it, although all its operators are builtins.
    """
    model = parse_model(path.read_bytes(), str(path))
    nodes: list[tuple[str, set[str]]] = []
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
    custom = tuple(custom_op_names(model))
    if custom:  # LiteRT may refuse to load it; what is inside can be told all the same
        specs = declared_specs(model)
    else:
        del model  # the runtime takes memory for the weights itself
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
