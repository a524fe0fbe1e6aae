"""A graph of tf2onnx becomes a model without copies of its large constants.

tf2onnx writes constants into the message of their node at every step, and from there into the
graph's and into the model's: in memory that none of these gives back before it goes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import onnx

LEAST = 1 << 16  # bytes of a constant that is worth it


@contextlib.contextmanager
def constants_uncopied() -> Iterator[None]:
    """While the context lasts, tf2onnx does not update the messages of constants.

    Nothing reads them: constants are made into initializers from their attribute.
    """
    from tf2onnx.graph import Node

    own = Node.update_proto

    def update_proto(self: Any, external_tensor_storage: Any = None) -> None:
        if not self.is_const():
            own(self, external_tensor_storage)

    Node.update_proto = update_proto
    try:
        yield
    finally:
        Node.update_proto = own


def make_model(graph: Any, doc: str) -> tuple[Any, dict[str, Any]]:
    """The model of a finished graph.

    Args:
        graph: of tf2onnx, which is of no use afterwards.
        doc: text for the model.

    Returns:
        A ModelProto, and by name the TensorProtos of its large constants, which have no values in
        the model.
    """
    large: dict[str, Any] = {}
    for node in graph.get_nodes():
        tensor = node.get_attr("value").t if node.is_const() else None
        if tensor is not None and len(tensor.raw_data) >= LEAST:
            (name,) = node.output
            tensor.name = name
            large[name] = tensor
            light = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type)
            node.set_attr_onnx(onnx.helper.make_attribute("value", light))
    model = graph.make_model(doc)
    kept = {tensor.name for tensor in model.graph.initializer}
    return model, {name: tensor for name, tensor in large.items() if name in kept}
