"""Changing a TFLite graph as objects: tensors, constants, operators; what is unused is dropped."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from edgevit.runtimes.tflite_file import (
    is_constant,
    op_names,
    pack_model,
    parse_model,
    read_schema,
    tensor_name,
)


class GraphEditor:
    """A TFLite file of one subgraph while it is being changed.

    Args:
        data: the file.

    Attributes:
        graph: the subgraph, as the schema's object.
        tensors: its tensors.
        operators: its operators, in order.
        kinds: name of each operator.
    """

    def __init__(self, data: bytes):
        self.model = parse_model(data, "float graph")
        (self.graph,) = self.model.subgraphs
        self.tensors = self.graph.tensors
        self.operators = list(self.graph.operators)
        (self.kinds,) = op_names(self.model)
        self._schema = read_schema()

    def is_constant(self, index: int) -> bool:
        """Whether a tensor's values are in the file."""
        return is_constant(self.model, self.tensors[index])

    def values(self, index: int) -> np.ndarray:
        """The float32 values of a constant tensor."""
        tensor = self.tensors[index]
        data = np.asarray(self.model.buffers[tensor.buffer].data, dtype=np.uint8)
        return data.view(np.float32).reshape([int(size) for size in tensor.shape])

    def scales(self, index: int) -> list[float]:
        """The scales of a quantised tensor."""
        return [float(scale) for scale in self.tensors[index].quantization.scale]

    def copy_tensor(self, index: int, suffix: str, kind: str) -> int:
        """A new activation of the same shape. Its index."""
        tensor = copy.copy(self.tensors[index])
        tensor.name = tensor_name(tensor) + suffix
        tensor.type = getattr(self._schema.TensorType, kind.upper())
        tensor.buffer = 0
        tensor.quantization = None
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add_constant(self, index: int, suffix: str, values: np.ndarray, kind: str = "") -> int:
        """A new constant of the same name and shape as another. Its index."""
        made = self.copy_tensor(index, suffix, kind or values.dtype.name)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.tensors[made].buffer = len(self.model.buffers) - 1
        return made

    def set_scale(self, index: int, scales: Any, zero_points: Any, axis: int = 0) -> None:
        """Gives a tensor its scales, one or one a channel."""
        found = self._schema.QuantizationParametersT()
        found.scale = np.array(scales, np.float32)
        found.zeroPoint = np.array(zero_points, np.int64)
        found.quantizedDimension = axis
        self.tensors[index].quantization = found

    def opcode(self, kind: str, version: int) -> int:
        """Place of an operator code of this version; added if missing."""
        number = getattr(self._schema.BuiltinOperator, kind)
        for place, code in enumerate(self.model.operatorCodes):
            known = max(code.builtinCode, code.deprecatedBuiltinCode)
            if known == number and code.version == version:
                return place
        code = self._schema.OperatorCodeT()
        code.builtinCode = number
        code.deprecatedBuiltinCode = min(number, 127)
        code.version = version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def make_operator(self, kind: str, version: int, inputs: list[int], outputs: list[int]) -> Any:
        """A new operator without options."""
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self.opcode(kind, version)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        return operator

    def make_elementwise(self, kind: str, inputs: list[int], output: int) -> Any:
        """A new ADD, MUL or unary operator without a fused activation."""
        operator = self.make_operator(kind, 1, inputs, [output])
        options = {"ADD": "AddOptions", "MUL": "MulOptions"}.get(kind)
        if options:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self._schema, f"{options}T")()
        return operator

    def set_input(self, before: int, after: int) -> None:
        """Another tensor takes the place of an input of the file."""
        self.graph.inputs = [
            after if int(index) == before else int(index) for index in self.graph.inputs
        ]
        for signature in self.model.signatureDefs or []:
            for entry in signature.inputs:
                if entry.tensorIndex == before:
                    entry.tensorIndex = after

    def set_output(self, before: int, after: int) -> None:
        """Another tensor takes the place of an output of the file."""
        self.graph.outputs = [
            after if int(index) == before else int(index) for index in self.graph.outputs
        ]
        for signature in self.model.signatureDefs or []:
            for entry in signature.outputs:
                if entry.tensorIndex == before:
                    entry.tensorIndex = after
        self.tensors[after].name = tensor_name(self.tensors[before])

    def replace_operators(self, operators: list[Any]) -> None:
        """Takes a new list of operators and drops tensors, buffers and codes that are unused."""
        self.graph.operators = self.operators = operators
        self._drop_tensors()
        self._drop_buffers()
        used = sorted({operator.opcodeIndex for operator in operators})
        places = {old: new for new, old in enumerate(used)}
        self.model.operatorCodes = [self.model.operatorCodes[old] for old in used]
        for operator in operators:
            operator.opcodeIndex = places[operator.opcodeIndex]
        (self.kinds,) = op_names(self.model)

    def pack(self) -> bytes:
        """The file."""
        return pack_model(self.model)

    def _drop_tensors(self) -> None:
        graph = self.graph
        sides = [graph.inputs, graph.outputs]
        sides += [
            side for operator in self.operators for side in (operator.inputs, operator.outputs)
        ]
        used = sorted({int(index) for side in sides for index in side if index >= 0})
        places = {old: new for new, old in enumerate(used)} | {-1: -1}

        def renumber(side: Any) -> np.ndarray:
            return np.array([places[int(index)] for index in side], np.int32)

        graph.tensors = self.tensors = [self.tensors[old] for old in used]
        graph.inputs, graph.outputs = renumber(graph.inputs), renumber(graph.outputs)
        for operator in self.operators:
            operator.inputs = renumber(operator.inputs)
            operator.outputs = renumber(operator.outputs)
        for signature in self.model.signatureDefs or []:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = places[entry.tensorIndex]

    def _drop_buffers(self) -> None:
        named = [entry.buffer for entry in self.model.metadata or []]
        used = sorted({0, *named, *(tensor.buffer for tensor in self.tensors)})
        places = {old: new for new, old in enumerate(used)}
        self.model.buffers = [self.model.buffers[old] for old in used]
        for tensor in self.tensors:
            tensor.buffer = places[tensor.buffer]
        for entry in self.model.metadata or []:
            entry.buffer = places[entry.buffer]
