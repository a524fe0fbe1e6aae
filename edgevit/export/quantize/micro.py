"""An integer-only TFLite graph in operators that TensorFlow Lite Micro has, exactly.

Two things keep our int8 files from microcontrollers:

- There is no GELU kernel. In int8 a GELU has 256 answers, and LiteRT computes it by looking them
  up; so does the graph here: CAST to int32, ADD 128, GATHER from a constant. The answers stay the
  same, bit for bit.
- FULLY_CONNECTED with a scale for each channel rounds twice there (first the product with the
  multiplier, then the shift), once in LiteRT, so that about one value of a thousand is off by one.
  CONV_2D rounds alike in both. A Dense layer is therefore written as a 1x1 convolution: the same
  weights, the same sums.

What comes out runs in LiteRT too.
"""

from __future__ import annotations

import math
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

LEVELS = 256
CODES = {"CAST": 1, "ADD": 1, "GATHER": 2, "CONV_2D": 3, "RESHAPE": 1}  # versions for int8


def suit_micro(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Rewrites GELU as a table and Dense layers as convolutions.

    Args:
        data: an integer-only .tflite whose batch is fixed.

    Returns:
        (the new file, steps taken).
    """
    model = parse_model(data, "export")
    graph = _Graph(model)
    (names,) = op_names(model)
    counts = {"GELU": 0, "FULLY_CONNECTED": 0}
    operators: list[Any] = []
    for operator, name in zip(model.subgraphs[0].operators, names, strict=True):
        written = None
        if name == "GELU":
            written = graph.write_gelu(operator)
        elif name == "FULLY_CONNECTED":
            written = graph.write_convolution(operator)
        operators += [operator] if written is None else written
        if written is not None:
            counts[name] += 1
    model.subgraphs[0].operators = operators
    steps = (
        f"{counts['GELU']} GELU as tables of {LEVELS} entries",
        f"{counts['FULLY_CONNECTED']} Dense layers as 1x1 convolutions",
    )
    return pack_model(model), steps


def gelu_table(
    entering: tuple[float, int], leaving: tuple[float, int], approximate: bool
) -> np.ndarray:
    """What LiteRT answers to each level. int8 256, for -128 to 127.

    Args:
        entering: scale and zero point of the input.
        leaving: of the output.
        approximate: the tanh form instead of the exact one.
    """
    x = np.float32(entering[0]) * (np.arange(-128, 128) - entering[1]).astype(np.float32)
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)
        y = 0.5 * x * (1 + np.tanh(inner))
    else:
        y = 0.5 * x * (1 + np.array([math.erf(value / math.sqrt(2)) for value in x.tolist()]))
    scaled = y.astype(np.float32) * (np.float32(1) / np.float32(leaving[0]))
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))  # halves away from 0
    return np.clip(rounded + leaving[1], -128, 127).astype(np.int8)


class _Graph:
    """A model's only subgraph, to which tensors and operators are added."""

    def __init__(self, model: Any):
        self._schema = read_schema()
        self._model = model
        self._graph = model.subgraphs[0]
        self._codes: dict[str, int] = {}
        self._offset: int | None = None

    def write_gelu(self, operator: Any) -> list[Any] | None:
        """CAST, ADD and GATHER for a GELU from int8 to int8; None for another."""
        schema, tensors = self._schema, self._graph.tensors
        x, y = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
        if (tensor_type(x), tensor_type(y)) != ("int8", "int8"):
            return None
        answers = gelu_table(_levels(x), _levels(y), operator.builtinOptions.approximate)
        table = self._add(y, "gelu_table", (LEVELS,), "INT8", answers, y.quantization)
        if self._offset is None:
            self._offset = self._add(y, "gelu_offset", (), "INT32", np.array(128, np.int32))
        level = self._add(y, "gelu_level", x.shape, "INT32")
        place = self._add(y, "gelu_place", x.shape, "INT32")
        cast = schema.CastOptionsT()
        cast.inDataType, cast.outDataType = schema.TensorType.INT8, schema.TensorType.INT32
        return [
            self._operator("CAST", [operator.inputs[0]], [level], "CastOptions", cast),
            self._operator(
                "ADD", [level, self._offset], [place], "AddOptions", schema.AddOptionsT()
            ),
            self._operator(
                "GATHER",
                [table, place],
                list(operator.outputs),
                "GatherOptions",
                schema.GatherOptionsT(),
            ),
        ]

    def write_convolution(self, operator: Any) -> list[Any] | None:
        """CONV_2D for a FULLY_CONNECTED with constant int8 weights; None for another."""
        schema, tensors = self._schema, self._graph.tensors
        x, kernel, y = (
            tensors[index] for index in (*operator.inputs[:2], int(operator.outputs[0]))
        )
        if not is_constant(self._model, kernel) or {tensor_type(t) for t in (x, kernel, y)} != {
            "int8"
        }:
            return None
        width, depth = int(kernel.shape[0]), int(kernel.shape[-1])
        kernel.shape = [width, 1, 1, depth]
        rows = math.prod(int(size) for size in x.shape) // depth
        source, result = int(operator.inputs[0]), int(operator.outputs[0])
        before, after = [], []
        if len(x.shape) != 4 or len(y.shape) != 4:
            four = self._add(y, "rows", (1, rows, 1, depth), "INT8", None, x.quantization)
            before.append(self._reshape(source, four, y))
            source = four
            four = self._add(y, "product", (1, rows, 1, width), "INT8", None, y.quantization)
            after.append(self._reshape(four, result, y))
            result = four
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = 1
        options.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = int(operator.inputs[2]) if has_bias else self._no_bias(x, kernel, y)
        inputs = [source, int(operator.inputs[1]), bias]
        product = self._operator("CONV_2D", inputs, [result], "Conv2DOptions", options)
        return [*before, product, *after]

    def _no_bias(self, x: Any, kernel: Any, near: Any) -> int:
        """Zeros, since an integer convolution must have a bias."""
        quantization = self._schema.QuantizationParametersT()
        scales = np.float32(x.quantization.scale[0]) * np.asarray(kernel.quantization.scale)
        quantization.scale = [float(scale) for scale in scales]
        quantization.zeroPoint = [0] * len(scales)
        width = int(kernel.shape[0])
        zeros = np.zeros(width, np.int32)
        return self._add(near, "no_bias", (width,), "INT32", zeros, quantization)

    def _reshape(self, source: int, result: int, near: Any) -> Any:
        sizes = [int(size) for size in self._graph.tensors[result].shape]
        target = self._add(near, "shape", (len(sizes),), "INT32", np.array(sizes, np.int32))
        options = self._schema.ReshapeOptionsT()
        options.newShape = sizes
        return self._operator("RESHAPE", [source, target], [result], "ReshapeOptions", options)

    def _add(
        self,
        near: Any,
        role: str,
        shape: Any,
        kind: str,
        array: np.ndarray | None = None,
        quantization: Any = None,
    ) -> int:
        """A tensor called after the layer of another one; its place."""
        tensor = self._schema.TensorT()
        layer = tensor_name(near).split(";")[0].rpartition("/")[0]
        tensor.name = f"{layer}/{role}_{len(self._graph.tensors)}"
        tensor.shape = [int(size) for size in shape]
        tensor.type = getattr(self._schema.TensorType, kind)
        tensor.quantization = quantization or self._schema.QuantizationParametersT()
        tensor.buffer = 0
        if array is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(array.tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(
        self, name: str, inputs: list[int], outputs: list[int], kind: str, options: Any
    ) -> Any:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(name)
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        return operator

    def _code(self, name: str) -> int:
        """The operator's code; made on first use, since versions may differ from what is there."""
        if name not in self._codes:
            code = self._schema.OperatorCodeT()
            code.builtinCode = getattr(self._schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(127, code.builtinCode)
            code.version = CODES[name]
            self._model.operatorCodes.append(code)
            self._codes[name] = len(self._model.operatorCodes) - 1
        return self._codes[name]


def _levels(tensor: Any) -> tuple[float, int]:
    """(scale, zero point) of a tensor that has one of each."""
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
