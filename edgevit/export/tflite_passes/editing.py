"""A float TFLite graph as something that can be asked and changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgevit.runtimes.tflite_file import (
    is_constant,
    op_names,
    pack_model,
    parse_model,
    read_schema,
    tensor_name,
    tensor_type,
)


class FloatGraph:
    """The one subgraph of a float32 .tflite file.

    Tensors are named by their index. Constants are never changed in place, since several operators
    may share one: an operator gets a new constant instead.

    Args:
        data: the whole file.
    """

    def __init__(self, data: bytes):
        self.model = parse_model(data, "float graph")
        (self.subgraph,) = self.model.subgraphs
        (names,) = op_names(self.model)
        self._kinds = {
            id(op): name for op, name in zip(self.subgraph.operators, names, strict=True)
        }

    @property
    def operators(self) -> list[Any]:
        """In the order of execution."""
        return list(self.subgraph.operators)

    def kind(self, operator: Any) -> str:
        """Name of an operator, such as "FULLY_CONNECTED"."""
        return self._kinds[id(operator)]

    def name(self, tensor: int) -> str:
        """Name of a tensor."""
        return tensor_name(self.subgraph.tensors[tensor])

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Sizes of a tensor; a free batch counts as one."""
        shape = self.subgraph.tensors[tensor].shape
        return tuple(int(size) for size in (() if shape is None else shape))

    def is_output(self, tensor: int) -> bool:
        """Whether the file hands the tensor out."""
        return tensor in [int(index) for index in self.subgraph.outputs]

    def readers(self, tensor: int) -> Iterator[tuple[Any, int]]:
        """(operator, place among its inputs) of all that take a tensor."""
        for operator in self.subgraph.operators:
            for place, index in enumerate(operator.inputs):
                if index == tensor:
                    yield operator, place

    def constant(self, tensor: int) -> np.ndarray | None:
        """The values of a stored tensor; None for a computed or an absent one (-1)."""
        if tensor < 0:
            return None
        found = self.subgraph.tensors[tensor]
        if not is_constant(self.model, found):
            return None
        kind = np.dtype(tensor_type(found)).newbyteorder("<")
        data = np.asarray(self.model.buffers[found.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), kind).reshape(self.shape(tensor))

    def give_constant(self, operator: Any, place: int, values: np.ndarray, role: str) -> None:
        """Makes an operator read new values; a place beyond its inputs is added."""
        schema = read_schema()
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.asarray(values, "<f4").tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name = f"{self.name(int(operator.outputs[0]))}/{role}"
        tensor.shape = list(values.shape)
        tensor.type = schema.TensorType.FLOAT32
        tensor.buffer = len(self.model.buffers) - 1
        self.subgraph.tensors.append(tensor)
        inputs = [int(index) for index in operator.inputs]
        inputs += [-1] * (place + 1 - len(inputs))
        inputs[place] = len(self.subgraph.tensors) - 1
        operator.inputs = inputs

    def bypass(self, operator: Any, place: int) -> None:
        """Removes an operator; who read its output reads its input of this place instead."""
        (result,) = operator.outputs
        for reader, where in list(self.readers(int(result))):
            inputs = [int(index) for index in reader.inputs]
            inputs[where] = int(operator.inputs[place])
            reader.inputs = inputs
        self.subgraph.operators = [op for op in self.subgraph.operators if op is not operator]

    def to_bytes(self) -> bytes:
        """The file, without tensors and constants that nothing takes any more."""
        graph, model = self.subgraph, self.model
        used = {int(index) for index in (*graph.inputs, *graph.outputs)}
        for operator in graph.operators:
            used.update(int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0)
        places = {old: new for new, old in enumerate(sorted(used))}
        places[-1] = -1
        graph.tensors = [graph.tensors[index] for index in sorted(used)]
        for part in (graph, *graph.operators):
            part.inputs = [places[int(index)] for index in part.inputs]
            part.outputs = [places[int(index)] for index in part.outputs]
        for signature in model.signatureDefs or []:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = places[int(entry.tensorIndex)]
        kept = {0, *(tensor.buffer for tensor in graph.tensors)}
        kept.update(entry.buffer for entry in model.metadata or [])
        order = {old: new for new, old in enumerate(sorted(kept))}
        model.buffers = [model.buffers[index] for index in sorted(kept)]
        for part in (*graph.tensors, *(model.metadata or [])):
            part.buffer = order[part.buffer]
        return pack_model(model)
