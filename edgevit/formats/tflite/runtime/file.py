"""The TFLite flatbuffer as objects: read it, change it, write it back aligned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ModelFileError, needed
from edgevit.core.tensors import TensorSpec

IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # bytes; the schema's force_align of weight buffers, which kernels rely on


def parse_model(data: bytes, name: str) -> Any:
    """The file as a ``ModelT`` of the schema's object API.

    Args:
        data: the whole file.
        name: how errors call it.

    Raises:
        ModelFileError: it is no TFLite file, or damaged.
        MissingDependencyError: ai-edge-litert is not installed.
    """
    schema = read_schema()
    if data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{name}: no TFLite file (its identifier is {data[4:8]!r}).")
    try:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    except Exception as error:  # flatbuffers raises whatever a wild offset leads to
        raise ModelFileError(f"{name}: the TFLite file is damaged ({error}).") from None


def pack_model(model: Any) -> bytes:
    """The bytes of a ``ModelT``, with every buffer aligned to 16 bytes."""
    schema = read_schema()

    class AlignedBuffer(schema.BufferT):  # type: ignore[name-defined]
        def Pack(self, builder):
            data = self.data
            place = None
            if data is not None and len(data):
                raw = np.asarray(data, dtype=np.uint8).tobytes()
                builder.StartVector(1, len(raw), ALIGNMENT)
                builder.head -= len(raw)
                builder.Bytes[builder.head : builder.head + len(raw)] = raw
                place = builder.EndVector()
            schema.BufferStart(builder)
            if place is not None:
                schema.BufferAddData(builder, place)
            return schema.BufferEnd(builder)

    for buffer in model.buffers:
        buffer.__class__ = AlignedBuffer
    return pack_at_once(model)


def pack_at_once(model: Any) -> bytes:
    """The bytes of a ``ModelT``, as its buffers pack themselves."""
    import flatbuffers

    stored = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(stored + (1 << 20))  # one that grows copies all that is in it
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def read_metadata(path: Path) -> dict[str, str]:
    """Text documents that travel inside the file, by key; binary ones are left out.

    Only the tables on the way are read, so it costs little however large the file.
    """
    data = path.read_bytes()
    schema = read_schema()
    found: dict[str, str] = {}
    try:
        model = schema.Model.GetRootAs(data, 0)
        for number in range(model.MetadataLength()):
            entry = model.Metadata(number)
            content = model.Buffers(entry.Buffer()).DataAsNumpy()
            if isinstance(content, np.ndarray):
                try:
                    found[entry.Name().decode()] = content.tobytes().decode()
                except UnicodeDecodeError:
                    continue
    except Exception as error:  # flatbuffers raises whatever a wild offset leads to
        raise ModelFileError(f"{path}: the TFLite file is damaged ({error}).") from None
    return found


def add_metadata(model: Any, documents: Mapping[str, str | bytes]) -> None:
    """Puts documents into a ``ModelT``; an older one of the same key is replaced."""
    schema = read_schema()
    entries = list(model.metadata or [])
    places = {_bytes(entry.name): entry.buffer for entry in entries}
    for key, document in documents.items():
        raw = document.encode() if isinstance(document, str) else document
        content = np.frombuffer(raw, dtype=np.uint8)
        if key.encode() in places:
            model.buffers[places[key.encode()]].data = content
            continue
        buffer = schema.BufferT()
        buffer.data = content
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name = key
        entry.buffer = len(model.buffers) - 1
        entries.append(entry)
    model.metadata = entries


def op_names(model: Any) -> list[list[str]]:
    """For each subgraph, the name of every operator in order; custom ones by their own name."""
    schema = read_schema()
    by_code = {value: key for key, value in vars(schema.BuiltinOperator).items() if key.isupper()}
    codes = []
    for code in model.operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = by_code.get(number, f"BUILTIN_{number}")
        codes.append(text(code.customCode) if name == "CUSTOM" else name)
    return [[codes[op.opcodeIndex] for op in graph.operators or []] for graph in model.subgraphs]


def custom_op_names(model: Any) -> list[str]:
    """Names of operators that are no LiteRT builtin (Flex ops among them)."""
    return sorted(text(code.customCode) for code in model.operatorCodes if code.customCode)


def declared_specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """(inputs, outputs) of the first subgraph as the file declares them, without a runtime."""
    graph = model.subgraphs[0]

    def spec(index: int) -> TensorSpec:
        tensor = graph.tensors[index]
        shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        sizes = tuple(None if size < 0 else int(size) for size in (() if shape is None else shape))
        return TensorSpec(tensor_name(tensor), sizes, tensor_type(tensor))

    return tuple(map(spec, graph.inputs)), tuple(map(spec, graph.outputs))


def signature_specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """As :func:`declared_specs`, by the names of the file's signature, as LiteRT calls them."""
    graph = model.subgraphs[0]
    names = {
        entry.tensorIndex: text(entry.name)
        for signature in (model.signatureDefs or [])[:1]
        for entry in (*signature.inputs, *signature.outputs)
    }
    inputs, outputs = (
        tuple(
            replace(spec, name=names.get(int(index), spec.name))
            for spec, index in zip(specs, indices, strict=True)
        )
        for specs, indices in zip(declared_specs(model), (graph.inputs, graph.outputs), strict=True)
    )
    return inputs, outputs


def tensor_type(tensor: Any) -> str:
    """Lower-case name of a tensor's element type, such as "int8"."""
    by_code = {value: key for key, value in vars(read_schema().TensorType).items() if key.isupper()}
    return by_code.get(tensor.type, f"type_{tensor.type}").lower()


def tensor_shape(tensor: Any) -> tuple[int, ...]:
    """Sizes of a tensor as they are stored; a free one counts as one."""
    return tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))


def tensor_name(tensor: Any) -> str:
    """Name of a tensor as text."""
    return text(tensor.name)


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether a tensor's values are in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def text(value: bytes | str | None) -> str:
    """Text of a name; bytes that are no text, as in a damaged file, do not stop the reading."""
    return value.decode(errors="replace") if isinstance(value, bytes) else (value or "")


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else (value or b"")


def read_schema() -> Any:
    """The schema's object API.

    Raises:
        MissingDependencyError: ai-edge-litert, which brings it, is not installed.
    """
    with needed("ai_edge_litert", "litert", "Reading a .tflite file"):
        from ai_edge_litert import schema_py_generated
    return schema_py_generated
