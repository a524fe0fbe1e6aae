"""A TFLite graph: read once, asked and changed in place, packed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.formats.tflite.operators import OPERATORS
from edgevit.formats.tflite.runtime.file import (
    add_metadata,
    is_constant,
    op_names,
    pack_model,
    parse_model,
    read_schema,
    tensor_name,
    tensor_shape,
    tensor_type,
    text,
)

NO_ACTIVATION, RELU = 0, 1  # ActivationFunctionType of the schema


class TfliteGraph:
    """The one subgraph of a .tflite file.

    Tensors are named by their index. Constants are never changed in place, since several operators
    may share one: an operator gets a new constant instead.

    Args:
        data: the whole file.

    Attributes:
        model: the file, as the schema's object.

    Raises:
        ExportError: there are several subgraphs.
    """

    def __init__(self, data: bytes):
        self.model = parse_model(data, "graph")
        graph, *others = self.model.subgraphs
        if others:
            raise ExportError(
                "the TFLite graph holds a loop or a condition, as some layers that augment "
                "pictures leave behind, and edgevit rewrites straight graphs alone. Leave the "
                "layer out of what is exported, or export to savedmodel or onnx-float32."
            )
        graph.operators = list(graph.operators)
        self._schema = read_schema()
        (names,) = op_names(self.model)
        self._kinds = {op.opcodeIndex: name for op, name in zip(self.operators, names, strict=True)}

    def copy(self) -> TfliteGraph:
        """A graph of its own; the stored values, which never change, are shared."""
        made = copy.copy(self)
        shared = {id(buffer.data): buffer.data for buffer in self.model.buffers}
        made.model = copy.deepcopy(self.model, shared)
        made._kinds = dict(self._kinds)
        return made

    @property
    def graph(self) -> Any:
        """The subgraph, as the schema's object."""
        return self.model.subgraphs[0]

    @property
    def tensors(self) -> list[Any]:
        """The tensors of the subgraph."""
        return self.graph.tensors

    @property
    def operators(self) -> list[Any]:
        """The operators in the order of execution."""
        return self.graph.operators

    @operators.setter
    def operators(self, operators: Sequence[Any]) -> None:
        self.graph.operators = list(operators)

    # asking

    @property
    def kinds(self) -> list[str]:
        """Name of each operator, such as "FULLY_CONNECTED", in order."""
        return [self.kind(operator) for operator in self.operators]

    def kind(self, operator: Any) -> str:
        """Name of an operator, such as "FULLY_CONNECTED"."""
        return self._kinds[operator.opcodeIndex]

    def name(self, tensor: int) -> str:
        """Name of a tensor."""
        return tensor_name(self.tensors[tensor])

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Sizes of a tensor; a free batch counts as one."""
        return tensor_shape(self.tensors[tensor])

    def is_free(self, tensor: int) -> bool:
        """Whether one of its sizes is not fixed."""
        signature = self.tensors[tensor].shapeSignature
        return signature is not None and any(int(size) < 0 for size in signature)

    def type(self, tensor: int) -> str:
        """Element type of a tensor, such as "int8"."""
        return tensor_type(self.tensors[tensor])

    def scales(self, tensor: int) -> list[float]:
        """The scales of a quantised tensor."""
        return [float(scale) for scale in self.tensors[tensor].quantization.scale]

    def is_output(self, tensor: int) -> bool:
        """Whether the file hands the tensor out."""
        return tensor in [int(index) for index in self.graph.outputs]

    def is_constant(self, tensor: int) -> bool:
        """Whether a tensor's values are in the file."""
        return is_constant(self.model, self.tensors[tensor])

    def values(self, tensor: int) -> np.ndarray:
        """The values of a constant tensor."""
        found = self.tensors[tensor]
        kind = np.dtype(tensor_type(found)).newbyteorder("<")
        data = np.asarray(self.model.buffers[found.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), kind).reshape(self.shape(tensor))

    def constant(self, tensor: int) -> np.ndarray | None:
        """The values of a stored tensor; None for a computed or an absent one (-1)."""
        return self.values(tensor) if tensor >= 0 and self.is_constant(tensor) else None

    def constant_input(self, operator: Any, place: int) -> np.ndarray | None:
        """The values of an operator's input; None for a computed one or one that it has not."""
        inputs = operator.inputs
        return self.constant(int(inputs[place])) if place < len(inputs) else None

    def activations(self) -> list[tuple[int, str]]:
        """(index, name) of every float tensor that is computed, not stored."""
        return [
            (index, self.name(index))
            for index in range(len(self.tensors))
            if self.type(index) == "float32" and not self.is_constant(index)
        ]

    def readers(self, tensor: int) -> Iterator[tuple[Any, int]]:
        """(operator, place among its inputs) of all that take a tensor."""
        for operator in self.operators:
            for place, index in enumerate(operator.inputs):
                if index == tensor:
                    yield operator, place

    def makers(self) -> dict[int, Any]:
        """The operator behind every computed tensor, as the operators are now."""
        return {int(output): op for op in self.operators for output in op.outputs}

    # making

    def add_tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        values: np.ndarray | None = None,
        free: bool = False,
    ) -> int:
        """A new tensor, a constant if values are given. Its index.

        Args:
            name: of the tensor.
            shape: its sizes.
            kind: element type, such as "int8".
            values: what is stored, in any array of as many bytes.
            free: whether the first of the sizes may be any other.
        """
        tensor = self._schema.TensorT()
        tensor.name = name
        tensor.shape = [int(size) for size in shape]
        if free:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
        tensor.quantization = self._schema.QuantizationParametersT()
        return self._append(tensor, kind, values)

    def add_near(
        self,
        near: int,
        role: str,
        shape: Sequence[int],
        kind: str,
        values: np.ndarray | None = None,
    ) -> int:
        """A new tensor that is called after the layer of another one. Its index."""
        layer = self.name(near).split(";")[0].rpartition("/")[0]
        return self.add_tensor(f"{layer}/{role}_{len(self.tensors)}", shape, kind, values)

    def copy_tensor(self, tensor: int, suffix: str, kind: str) -> int:
        """A new activation of the same shape. Its index."""
        made = copy.copy(self.tensors[tensor])
        made.name = self.name(tensor) + suffix
        made.quantization = None
        return self._append(made, kind, None)

    def add_constant(self, tensor: int, suffix: str, values: np.ndarray, kind: str = "") -> int:
        """A new constant of the same name and shape as another. Its index."""
        made = self.copy_tensor(tensor, suffix, kind or values.dtype.name)
        self._store(self.tensors[made], values)
        return made

    def set_scale(self, tensor: int, scales: Any, zero_points: Any, axis: int = 0) -> None:
        """Gives a tensor its scales, one or one a channel."""
        found = self._schema.QuantizationParametersT()
        found.scale = np.array(scales, np.float32)
        found.zeroPoint = np.array(zero_points, np.int64)
        found.quantizedDimension = axis
        self.tensors[tensor].quantization = found

    def opcode(self, kind: str, version: int) -> int:
        """Place of an operator code of this version; added if missing."""
        number = getattr(self._schema.BuiltinOperator, kind)
        for place, code in enumerate(self.model.operatorCodes):
            known = max(code.builtinCode, code.deprecatedBuiltinCode)
            if known == number and code.version == version:
                self._kinds[place] = kind
                return place
        code = self._schema.OperatorCodeT()
        code.builtinCode = number
        code.deprecatedBuiltinCode = min(number, 127)
        code.version = version
        self.model.operatorCodes.append(code)
        place = len(self.model.operatorCodes) - 1
        self._kinds[place] = kind
        return place

    def make_operator(
        self,
        kind: str,
        version: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        **fields: Any,
    ) -> Any:
        """A new operator, not yet among the operators.

        Args:
            kind: such as "CONV_2D".
            version: of the operator, which says what types it takes.
            inputs: tensors.
            outputs: tensors.
            options: name of the schema's table of options, such as "Conv2DOptions".
            **fields: of that table.
        """
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self.opcode(kind, version)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self._schema, f"{options}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        return operator

    def make_int8(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        **fields: Any,
    ) -> Any:
        """As :meth:`make_operator`, of the version that takes int8."""
        version = OPERATORS[kind].version or 1
        return self.make_operator(kind, version, inputs, outputs, options, **fields)

    def make_reshape(self, source: int, result: int, near: int) -> Any:
        """A new RESHAPE to the sizes of its result, its target called after a tensor's layer."""
        sizes = list(self.shape(result))
        if self.is_free(result):
            sizes[0] = -1
        target = self.add_near(near, "shape", (len(sizes),), "int32", np.array(sizes, np.int32))
        fields = {"newShape": sizes}
        return self.make_operator(
            "RESHAPE", 1, [source, target], [result], "ReshapeOptions", **fields
        )

    def make_elementwise(self, kind: str, inputs: Sequence[int], output: int) -> Any:
        """A new ADD, MUL or unary operator without a fused activation."""
        options = {"ADD": "AddOptions", "MUL": "MulOptions"}.get(kind, "")
        return self.make_operator(kind, 1, inputs, [output], options)

    # changing

    def give_constant(self, operator: Any, place: int, values: np.ndarray, role: str) -> None:
        """Makes an operator read new float32 values; a place beyond its inputs is added."""
        telling = [int(operator.outputs[0]), *(int(i) for i in operator.inputs[1:] if i >= 0)]
        # The file's output is called after no layer; what it is computed with is.
        names = [self.name(index) for index in telling]
        name = f"{next((name for name in names if '/' in name), names[0])}/{role}"
        stored = np.asarray(values, "<f4")
        made = self.add_tensor(name, stored.shape, "float32", stored)
        inputs = [int(index) for index in operator.inputs]
        inputs += [-1] * (place + 1 - len(inputs))
        inputs[place] = made
        operator.inputs = inputs

    def store(self, tensor: int, values: np.ndarray) -> None:
        """Makes a computed tensor a constant; the operator behind it is the caller's to remove."""
        self._store(self.tensors[tensor], values)

    def bypass(self, operator: Any, place: int) -> None:
        """Removes an operator; who read its output reads its input of this place instead."""
        (result,) = operator.outputs
        for reader, where in list(self.readers(int(result))):
            inputs = [int(index) for index in reader.inputs]
            inputs[where] = int(operator.inputs[place])
            reader.inputs = inputs
        self.operators = [op for op in self.operators if op is not operator]

    def order_borders(self, inputs: Sequence[str], outputs: Sequence[str]) -> bool:
        """Puts inputs and outputs into an order, by the names of the file's signature.

        Returns:
            Whether anything moved.
        """
        (signature,) = self.model.signatureDefs
        moved = False
        for names, graph_side, side in (
            (inputs, "inputs", signature.inputs),
            (outputs, "outputs", signature.outputs),
        ):
            by_name = {text(entry.name): entry for entry in side}
            ordered = [by_name[name] for name in names if name in by_name]
            places = [int(entry.tensorIndex) for entry in ordered]
            before = [int(index) for index in getattr(self.graph, graph_side)]
            if before != places:
                moved = True
                setattr(self.graph, graph_side, np.array(places, np.int32))
            side[:] = ordered
        return moved

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, as the file's signature calls them."""
        return tuple(
            text(entry.name)
            for signature in (self.model.signatureDefs or [])[:1]
            for entry in signature.outputs
        )

    def input_named(self, name: str) -> int:
        """The input tensor that the file's signature calls so; the only one goes by any name."""
        for signature in self.model.signatureDefs or []:
            for entry in signature.inputs:
                if text(entry.name) == name:
                    return int(entry.tensorIndex)
        (only,) = (int(index) for index in self.graph.inputs)
        return only

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
        self.tensors[after].name = self.name(before)

    def copy_shared_outputs(self) -> int:
        """Hands a tensor that has several names out once for each: a RESHAPE to its own sizes.

        Converters merge what is equal, and runtimes hand a tensor out once.

        Returns:
            How many copies there are.
        """
        places: list[int] = []
        (signature,) = self.model.signatureDefs
        for entry in signature.outputs:
            before = int(entry.tensorIndex)
            if before in places:
                made = copy.copy(self.tensors[before])
                made.name = f"{self.name(before)}/{text(entry.name)}"
                self.tensors.append(made)
                entry.tensorIndex = len(self.tensors) - 1
                self.operators.append(self.make_reshape(before, entry.tensorIndex, before))
            places.append(int(entry.tensorIndex))
        copies = len(places) - len({int(index) for index in self.graph.outputs})
        if copies:
            self.graph.outputs = np.array(places, np.int32)
        return copies

    def drop_unread(self) -> None:
        """Removes operators whose outputs neither another operator nor the file takes."""
        wanted = {int(index) for index in self.graph.outputs}
        kept = []
        for operator in reversed(self.operators):
            if wanted & {int(index) for index in operator.outputs}:
                wanted |= {int(index) for index in operator.inputs}
                kept.append(operator)
        self.operators = kept[::-1]

    def prune(self) -> None:
        """Removes tensors, constants and operator codes that nothing takes any more."""
        self._drop_tensors()
        self._drop_buffers()
        self._drop_codes()

    def to_bytes(self, documents: Mapping[str, str | bytes] | None = None) -> bytes:
        """The file, with documents in its metadata."""
        if documents:
            add_metadata(self.model, documents)
        return pack_model(self.model)

    def _append(self, tensor: Any, kind: str, values: np.ndarray | None) -> int:
        tensor.type = getattr(self._schema.TensorType, kind.upper())
        tensor.buffer = 0
        self.tensors.append(tensor)
        if values is not None:
            self._store(tensor, values)
        return len(self.tensors) - 1

    def _store(self, tensor: Any, values: np.ndarray) -> None:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.buffer = len(self.model.buffers) - 1

    def _drop_tensors(self) -> None:
        graph = self.graph
        sides = [graph.inputs, graph.outputs]
        sides += [side for op in self.operators for side in (op.inputs, op.outputs)]
        used = sorted({int(index) for side in sides for index in side if index >= 0})
        places = {old: new for new, old in enumerate(used)} | {-1: -1}
        for part in (graph, *self.operators):
            part.inputs, part.outputs = (
                np.array([places[int(index)] for index in side], np.int32)
                for side in (part.inputs, part.outputs)
            )
        graph.tensors = [self.tensors[old] for old in used]
        for signature in self.model.signatureDefs or []:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = places[int(entry.tensorIndex)]

    def _drop_buffers(self) -> None:
        parts = [*self.tensors, *(self.model.metadata or [])]
        used = sorted({0, *(part.buffer for part in parts)})
        places = {old: new for new, old in enumerate(used)}
        self.model.buffers = [self.model.buffers[old] for old in used]
        for part in parts:
            part.buffer = places[part.buffer]

    def _drop_codes(self) -> None:
        used = sorted({operator.opcodeIndex for operator in self.operators})
        places = {old: new for new, old in enumerate(used)}
        self.model.operatorCodes = [self.model.operatorCodes[old] for old in used]
        for operator in self.operators:
            operator.opcodeIndex = places[operator.opcodeIndex]
        self._kinds = {places[old]: self._kinds[old] for old in used}
