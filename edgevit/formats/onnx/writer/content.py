"""The content of an ONNX file: the graph is serialised once, documents are put behind it."""

from __future__ import annotations

import onnx
import onnx_ir as ir


def serialise(model: ir.Model) -> bytes:
    """The content of the file of a model, the same for equal models.

    Raises:
        onnx.checker.ValidationError: it is no valid ONNX.
    """
    proto = ir.to_proto(model)
    proto.graph.value_info.sort(key=lambda value: value.name)
    # onnx-ir leaves out texts that are empty; written out, files keep their bytes.
    proto.graph.doc_string = model.graph.doc_string or ""
    if model.producer_version is not None:
        proto.producer_version = model.producer_version
    for node, written in zip(model.graph, proto.graph.node, strict=True):
        if node.doc_string is not None:
            written.doc_string = node.doc_string
    content = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(content, full_check=True)
    return content


def embed_onnx(content: bytes, documents: dict[str, str]) -> bytes:
    """The same file with text documents in its metadata.

    Two serialised messages, one behind the other, are one message with the fields of both (Protocol
    Buffers, "Last One Wins"): the graph need not be parsed, and since the metadata is the last
    field of a file without functions, the bytes are those that one message would have.
    """
    metadata = onnx.ModelProto()
    onnx.helper.set_model_props(metadata, documents)
    return content + metadata.SerializeToString(deterministic=True)
