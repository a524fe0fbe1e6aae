"""The content of an ONNX file: the graph is serialised once, documents are put behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

from edgevit.formats.onnx.runtime.file import copy_without_weights


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


def serialise(proto: onnx.ModelProto) -> bytes:
    """The bytes of a model that the checker accepts.

    Raises:
        onnx.checker.ValidationError: it is no valid ONNX.
    """
    light = copy_without_weights(proto)
    onnx.checker.check_model(light.SerializeToString(), full_check=True)
    for tensor in proto.graph.initializer:
        onnx.checker.check_tensor(tensor)
    return proto.SerializeToString(deterministic=True)


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
