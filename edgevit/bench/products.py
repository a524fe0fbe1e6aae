"""Files that hold one matrix product, and nothing else: what a runtime reaches at best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import MissingDependencyError
from edgevit.base.files import write_whole
from edgevit.core.target import Format, Precision

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
    code.version = 4 if integer else 1  # the first that takes int8
    model.operatorCodes, model.subgraphs = [code], [graph]
    return pack_model(model)


def _onnx_product(weights: np.ndarray, rows: int, integer: bool) -> bytes:
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise MissingDependencyError("onnx", "onnx", "Writing an .onnx file") from None
    depth, width = weights.shape
    constants: dict[str, np.ndarray] = {}
    if integer:
        kind = TensorProto.UINT8  # what onnxruntime's kernels for x86 are made for
        constants = {
            "kernel": weights,
            "scale": np.array(SCALE, np.float32),
            "zero": np.array(128, np.uint8),
            "zero_kernel": np.array(0, np.int8),
            "scale_y": np.array(1.0, np.float32),
        }
        names = ["x", "scale", "zero", "kernel", "scale", "zero_kernel", "scale_y", "zero"]
        node = helper.make_node("QLinearMatMul", names, ["y"])
    else:
        kind = TensorProto.FLOAT
        constants = {
            "kernel": weights.astype(np.float32) * SCALE,
            "bias": np.zeros(width, np.float32),
        }
        node = helper.make_node("Gemm", ["x", "kernel", "bias"], ["y"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", kind, (rows, depth))],
        [helper.make_tensor_value_info("y", kind, (rows, width))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()
