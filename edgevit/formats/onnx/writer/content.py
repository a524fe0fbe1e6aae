"""The content of an ONNX file: a graph is written piece by piece, documents are put behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from edgevit.formats.onnx.runtime.file import (
    GRAPH,
    INITIALIZER,
    copy_fields,
    copy_without_weights,
)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """A finished model as what its file holds, the same for equal models."""
    proto = ir.to_proto(model)
    proto.graph.value_info.sort(key=lambda value: value.name)
    # onnx-ir leaves out texts that are empty; files have always had them.
    proto.graph.doc_string = model.graph.doc_string or ""
    if model.producer_version is not None:
        proto.producer_version = model.producer_version
    for node, written in zip(model.graph, proto.graph.node, strict=True):
        if node.doc_string is not None:
            written.doc_string = node.doc_string
    return proto


def serialise(proto: onnx.ModelProto) -> Iterator[bytes]:
    """The bytes of a model that the checker accepts, one constant after the other.

    They are those of ``proto.SerializeToString(deterministic=True)``, which would need memory for
    the whole model twice over: a message is its fields in the order of their numbers.

    Raises:
        onnx.checker.ValidationError: it is no valid ONNX.
    """
    light = copy_without_weights(proto)
    onnx.checker.check_model(light.SerializeToString(), full_check=True)
    for tensor in proto.graph.initializer:
        onnx.checker.check_tensor(tensor)
    constants = proto.graph.initializer
    before, behind = _serialise_around(proto.graph, onnx.GraphProto(), INITIALIZER)
    heads = [_head(INITIALIZER, tensor.ByteSize()) for tensor in constants]
    length = sum(map(len, (before, behind, *heads)))
    length += sum(tensor.ByteSize() for tensor in constants)
    first, last = _serialise_around(proto, onnx.ModelProto(), GRAPH)
    yield first + _head(GRAPH, length) + before
    for head, tensor in zip(heads, constants, strict=True):
        yield head + tensor.SerializeToString(deterministic=True)
    yield behind + last


def _serialise_around(message: Any, empty: Any, field: int) -> list[bytes]:
    """What a message says in the fields before one of them, and in those behind it."""
    parts = []
    for wanted in (field.__gt__, field.__lt__):
        empty.Clear()
        copy_fields(message, empty, wanted)
        parts.append(empty.SerializeToString(deterministic=True))
    return parts


def _head(field: int, length: int) -> bytes:
    """What stands before a message inside another: its field, and its length as a varint."""
    head = bytearray([field << 3 | 2])
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def add_documents(path: Path, length: int, documents: Mapping[str, str]) -> None:
    """Puts text documents behind a serialised model, in place of those that are there.

    Two serialised messages, one behind the other, are one message with the fields of both (Protocol
    Buffers, "Last One Wins"), so the graph need not be serialised again. Metadata is the last field
    that these files have: the bytes are those of one message.

    Args:
        path: the file.
        length: bytes of the model without documents.
        documents: by key.
    """
    metadata = onnx.ModelProto()
    onnx.helper.set_model_props(metadata, dict(documents))
    with path.open("r+b") as stream:
        stream.truncate(length)
        stream.seek(length)
        stream.write(metadata.SerializeToString(deterministic=True))
