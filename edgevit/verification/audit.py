"""What is really inside a file: operators, element types, float islands, delegate partitions."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from edgevit.base.errors import ExportError, MissingDependencyError, ModelFileError
from edgevit.core.roofline import Work
from edgevit.core.target import Format, Target
from edgevit.core.tensors import TensorSpec
from edgevit.formats.cost import count_work
from edgevit.formats.registry import detect_format, open_session, refuse_damage

LARGEST = 10
FLOAT_TYPES = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True)
class StoredTensor:
    """A constant tensor inside a file.

    Attributes:
        name: as the file calls it.
        shape: sizes.
        dtype: element type.
        size_bytes: of its values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class Inspection:
    """The contents of one exported file.

    Attributes:
        format: of the file.
        size_bytes: of file or folder.
        ops: how often each operator occurs.
        tensor_types: how many tensors of each element type.
        integer_only: whether no tensor anywhere holds floats.
        float_ops: how often each operator touches a float tensor.
        custom_ops: operators that are no builtin of the format, Flex ops among them.
        partitions: for TFLite, parts that XNNPACK takes over ("delegated") and operators that it
            leaves to LiteRT's own kernels ("left"); None elsewhere and with custom operators.
        parameters: values stored in constant tensors; None where it is not counted.
        inputs: as the runtime declares them.
        outputs: likewise.
        largest: the constant tensors that take most of the file, the largest first.
        optimized_ops: for ONNX, and only if asked for: how often each operator occurs in the graph
            that onnxruntime runs, after its own optimisation.
        work: multiply-accumulates and bytes of one run (of one image, where the batch is free);
            None for a SavedModel, and unless asked for.
    """

    format: str
    size_bytes: int
    ops: dict[str, int]
    tensor_types: dict[str, int]
    integer_only: bool
    float_ops: dict[str, int]
    custom_ops: tuple[str, ...]
    partitions: dict[str, int] | None
    parameters: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    largest: tuple[StoredTensor, ...] = ()
    optimized_ops: dict[str, int] | None = None
    work: Work | None = None


def inspect(path: str | Path, optimized: bool = False, work: bool = False) -> Inspection:
    """Lists what is inside an exported file.

    Args:
        path: the file or folder.
        optimized: for ONNX, list the operators that onnxruntime really runs as well.
        work: for TFLite and ONNX, count multiply-accumulates as well.

    Raises:
        ModelFileError: no such file, or damaged.
        RuntimeFailure: its runtime refuses it.
    """
    path = Path(path)
    inspectors = {
        Format.TFLITE: _inspect_tflite,
        Format.ONNX: _inspect_onnx,
        Format.SAVEDMODEL: _inspect_savedmodel,
    }
    inspector = inspectors[detect_format(path)]
    refuse_damage(path)
    found = inspector(path)
    if optimized and found.format == Format.ONNX and not found.custom_ops:
        from edgevit.formats.onnx.runtime.profiler import optimized_ops

        found = replace(found, optimized_ops=optimized_ops(path))
    if work:
        found = replace(found, work=count_work(path))
    return found


def audit(inspection: Inspection, target: Target, name: str) -> None:
    """Refuses what a target must not contain.

    Raises:
        ExportError: a custom or Flex op, or a float tensor in an integer-only file other than its
            own input and output, where the user asked for float ones.
    """
    if inspection.custom_ops:
        raise ExportError(
            f"{name}: {', '.join(inspection.custom_ops)} is no builtin operator of "
            f"{inspection.format}, so an edge runtime refuses the file. Nothing was written."
        )
    if target.integer_only and not (inspection.integer_only or _floats_at_borders(inspection)):
        listed = ", ".join(f"{count} {op}" for op, count in sorted(inspection.float_ops.items()))
        raise ExportError(
            f"{name}: {target.name} must hold integers only, but these operators touch floats: "
            f"{listed}. Nothing was written."
        )


def _floats_at_borders(inspection: Inspection) -> bool:
    """Whether the file's own inputs and outputs are its only float tensors."""
    borders = [s for s in (*inspection.inputs, *inspection.outputs) if s.dtype in FLOAT_TYPES]
    floats = sum(inspection.tensor_types.get(kind, 0) for kind in FLOAT_TYPES)
    return floats == len(borders) and set(inspection.float_ops) <= {"QUANTIZE", "DEQUANTIZE"}


def _inspect_tflite(path: Path) -> Inspection:
    from edgevit.formats.tflite.runtime.file import (
        custom_op_names,
        declared_specs,
        is_constant,
        op_names,
        parse_model,
        tensor_name,
        tensor_type,
    )
    from edgevit.formats.tflite.runtime.litert import count_partitions

    model = parse_model(path.read_bytes(), str(path))
    ops: Counter[str] = Counter()
    float_ops: Counter[str] = Counter()
    types: Counter[str] = Counter()
    stored: list[StoredTensor] = []
    for graph, names in zip(model.subgraphs, op_names(model), strict=True):
        kinds = [tensor_type(tensor) for tensor in graph.tensors]
        types.update(kinds)
        ops.update(names)
        for operator, name in zip(graph.operators or [], names, strict=True):
            touched = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
            if any(kinds[index] in FLOAT_TYPES for index in touched):
                float_ops[name] += 1
        for tensor, kind in zip(graph.tensors, kinds, strict=True):
            if is_constant(model, tensor):
                shape = tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))
                size_bytes = len(model.buffers[tensor.buffer].data)
                stored.append(StoredTensor(tensor_name(tensor), shape, kind, size_bytes))
    custom = tuple(custom_op_names(model))
    if custom:  # LiteRT may refuse to load it; what is inside can be told all the same
        inputs, outputs = declared_specs(model)
    else:
        with open_session(path) as session:
            inputs, outputs = session.inputs, session.outputs
    return Inspection(
        format=str(Format.TFLITE),
        size_bytes=path.stat().st_size,
        ops=_sorted(ops),
        tensor_types=_sorted(types),
        integer_only=not any(kind in FLOAT_TYPES for kind in types),
        float_ops=_sorted(float_ops),
        custom_ops=custom,
        partitions=None if custom else count_partitions(path),
        parameters=sum(math.prod(tensor.shape) for tensor in stored),
        inputs=inputs,
        outputs=outputs,
        largest=_largest(stored),
    )


def _inspect_onnx(path: Path) -> Inspection:
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError("onnx", "onnx", "Inspecting an .onnx file") from None
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    except Exception as error:  # protobuf and onnx raise several types for damaged files
        text = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: the ONNX file is damaged ({text}).") from None
    graph = model.graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kinds[value.name] = value.type.tensor_type.elem_type
    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    renamed = {"float": "float32", "double": "float64"}
    typed = {name: renamed.get(names[kind], names[kind]) for name, kind in kinds.items()}
    custom = tuple(sorted({f"{node.domain}.{node.op_type}" for node in graph.node if node.domain}))
    if custom:  # onnxruntime may refuse to load it; what is inside can be told all the same
        inputs, outputs = (
            tuple(
                TensorSpec(
                    value.name,
                    tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim),
                    typed[value.name],
                )
                for value in side
            )
            for side in (graph.input, graph.output)
        )
    else:
        with open_session(path) as session:
            inputs, outputs = session.inputs, session.outputs
    float_ops: Counter[str] = Counter()
    for node in graph.node:
        if any(typed.get(name) in FLOAT_TYPES for name in (*node.input, *node.output)):
            float_ops[node.op_type] += 1
    stored = [
        StoredTensor(
            tensor.name,
            tuple(tensor.dims),
            typed[tensor.name],
            math.prod(tensor.dims)
            * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize,
        )
        for tensor in graph.initializer
    ]
    return Inspection(
        format=str(Format.ONNX),
        size_bytes=path.stat().st_size,
        ops=_sorted(Counter(node.op_type for node in graph.node)),
        tensor_types=_sorted(Counter(typed.values())),
        integer_only=not any(kind in FLOAT_TYPES for kind in typed.values()),
        float_ops=_sorted(float_ops),
        custom_ops=custom,
        partitions=None,
        parameters=sum(math.prod(tensor.shape) for tensor in stored),
        inputs=inputs,
        outputs=outputs,
        largest=_largest(stored),
    )


def _inspect_savedmodel(path: Path) -> Inspection:
    from edgevit.base.files import size_path
    from edgevit.formats.savedmodel.runtime import list_nodes

    nodes = list_nodes(path)
    with open_session(path) as session:
        inputs, outputs = session.inputs, session.outputs
    ops = Counter(op for op, _ in nodes)
    types = Counter(kind for _, kinds in nodes for kind in kinds)
    float_ops = Counter(op for op, kinds in nodes if any(kind in FLOAT_TYPES for kind in kinds))
    return Inspection(
        format=str(Format.SAVEDMODEL),
        size_bytes=size_path(path),
        ops=_sorted(ops),
        tensor_types=_sorted(types),
        integer_only=not any(kind in FLOAT_TYPES for kind in types),
        float_ops=_sorted(float_ops),
        custom_ops=(),
        partitions=None,
        parameters=None,
        inputs=inputs,
        outputs=outputs,
    )


def _largest(stored: list[StoredTensor]) -> tuple[StoredTensor, ...]:
    ordered = sorted(stored, key=lambda tensor: (-tensor.size_bytes, tensor.name))
    return tuple(ordered[:LARGEST])


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
