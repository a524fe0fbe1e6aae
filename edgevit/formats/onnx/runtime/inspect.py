"""The contents of an .onnx file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgevit.core.inspection import Inspection, StoredTensor
from edgevit.core.tensors import TensorSpec
from edgevit.formats.onnx.runtime.file import declared_specs, element_type, read_model
from edgevit.formats.onnx.runtime.onnxruntime import OnnxRuntimeSession

Node = tuple[str, set[str]]  # name of an operator, element types that it touches
Specs = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def _list_custom(model: Any) -> tuple[str, ...]:
    """Operators of other domains, and those that the file's version of ONNX has not."""
    from onnx import defs

    versions = {entry.domain: entry.version for entry in model.opset_import}
    found = {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain}
    version = versions.get("", defs.onnx_opset_version())
    found |= {
        node.op_type
        for node in model.graph.node
        if not node.domain and not defs.has(node.op_type, version, "")
    }
    return tuple(sorted(found))


def inspect_onnx(path: Path) -> Inspection:
    """Lists what is inside an .onnx file.

    Raises:
        ModelFileError: the file is damaged.
        MissingDependencyError: onnx or onnxruntime is not installed.
        RuntimeFailure: onnxruntime refuses it, although it knows all operators.
    """
    nodes, types, stored, custom, specs = _list_contents(path)
    if not custom:
        with OnnxRuntimeSession(path) as session:
            specs = session.inputs, session.outputs
    return Inspection.of(
        "onnx", path.stat().st_size, nodes, types, specs, stored, custom_ops=custom
    )


def _list_contents(
    path: Path,
) -> tuple[list[Node], list[str], list[StoredTensor], tuple[str, ...], Specs]:
    """(operators, element types, constants, custom operators, inputs and outputs) of a file.

    Nothing of it leads to the file in memory: a runtime needs memory for the weights itself.
    """
    model = read_model(path, "Inspecting an .onnx file", shapes=True)
    from onnx.helper import tensor_dtype_to_np_dtype

    graph = model.graph
    types = {tensor.name: element_type(tensor.data_type) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = element_type(value.type.tensor_type.elem_type)
    nodes = [
        (node.op_type, {types[name] for name in (*node.input, *node.output) if name in types})
        for node in graph.node
    ]
    stored = [
        StoredTensor(
            tensor.name,
            tuple(tensor.dims),
            types[tensor.name],
            math.prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize,
        )
        for tensor in graph.initializer
    ]
    # With custom ones onnxruntime may refuse to load it; what is inside can be told all the same.
    return nodes, list(types.values()), stored, _list_custom(model), declared_specs(model)
