"""Files that hold one matrix product, and nothing else: what a runtime reaches at best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import needed
from edgevit.base.files import write_whole
from edgevit.core.format import Format
from edgevit.core.target import Precision

OPSET = 17
SCALE = 1 / 64  # of every int8 tensor; its value does not matter to the time


def write_product(
    path: Path, kind: Format, precision: Precision, rows: int, depth: int, width: int
) -> None:
    """Writes a file that multiplies its input (rows x depth) by a constant (depth x width).

    TFLite: FULLY_CONNECTED. ONNX: Gemm, and QLinearMatMul for int8.

    Args:
        path: where.
        kind: TFLITE or ONNX.
        precision: FLOAT32 or INT8 (integers in and out).
        rows: of the input.
        depth: columns of the input.
        width: columns of the product.

    Raises:
        MissingDependencyError: the package that writes this format is not installed.
    """
    weights = np.random.default_rng(0).integers(-127, 128, (depth, width), dtype=np.int8)
    writers = {Format.TFLITE: _tflite_product, Format.ONNX: _onnx_product}
    write_whole(path, writers[kind](weights, rows, precision is Precision.INT8))


def _tflite_product(weights: np.ndarray, rows: int, integer: bool) -> bytes:
    from edgevit.formats.tflite.operators import OPERATORS
    from edgevit.formats.tflite.runtime.file import pack_model, read_schema

    schema = read_schema()
    depth, width = weights.shape
    kernel = weights if integer else weights.astype(np.float32) * SCALE
    bias = np.zeros(width, np.int32 if integer else np.float32)
    kind = schema.TensorType.INT8 if integer else schema.TensorType.FLOAT32
    bias_kind = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32

    model = schema.ModelT()
    model.version = 3
    model.description = "one matrix product"
    model.buffers = [schema.BufferT()]

    def tensor(
        name: str, shape: tuple[int, ...], code: int, scale: float, data: np.ndarray | None = None
    ) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), code, 0
        if data is not None:
            holder = schema.BufferT()
            holder.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(holder)
        if integer:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
        return made

    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [
        tensor("x", (rows, depth), kind, SCALE),
        # FULLY_CONNECTED wants its weights as width x depth
        tensor("kernel", (width, depth), kind, SCALE, kernel.T),
        tensor("bias", (width,), bias_kind, SCALE * SCALE, bias),
        tensor("y", (rows, width), kind, 1.0),
    ]
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [3]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = OPERATORS["FULLY_CONNECTED"].version if integer else 1
    model.operatorCodes, model.subgraphs = [code], [graph]
    return pack_model(model)


def _onnx_product(weights: np.ndarray, rows: int, integer: bool) -> bytes:
    with needed("onnx", "onnx", "Writing an .onnx file"):
        import onnx
    depth, width = weights.shape
    if integer:  # uint8 is what onnxruntime's kernels for x86 are made for
        kind, node = "uint8", "QLinearMatMul(x, scale, zero, k, scale, zero_k, scale_y, zero)"
        constants = {
            "k": weights,
            "scale": np.float32(SCALE),
            "zero": np.uint8(128),
            "zero_k": np.int8(0),
            "scale_y": np.float32(1.0),
        }
    else:
        kind, node = "float", "Gemm(x, k, bias)"
        constants = {
            "k": weights.astype(np.float32) * SCALE,
            "bias": np.zeros(width, np.float32),
        }
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {OPSET}]> product '
        f"({kind}[{rows}, {depth}] x) => ({kind}[{rows}, {width}] y) {{ y = {node} }}"
    )
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    onnx.checker.check_model(model)
    return model.SerializeToString()
