"""The content of an ONNX file: the graph is serialised once, documents are put behind it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir


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
    content = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(content, full_check=True)
    return content


def add_documents(content: bytes, documents: Mapping[str, str]) -> bytes:
    """A serialised model with text documents in its metadata, which had none.

    Two serialised messages, one behind the other, are one message with the fields of both (Protocol
    Buffers, "Last One Wins"), so the graph need not be serialised again. Metadata is the last field
    that these files have: the bytes are those of one message.
    """
    metadata = onnx.ModelProto()
    onnx.helper.set_model_props(metadata, dict(documents))
    return content + metadata.SerializeToString(deterministic=True)
