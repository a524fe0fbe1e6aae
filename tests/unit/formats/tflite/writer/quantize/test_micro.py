"""GELU as a table, Dense as a convolution: the same answers as LiteRT's own kernels."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.tflite.runtime.file import pack_model, read_schema
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.micro import gelu_table, suit_micro

GELUS = [  # scale and zero point of the input, of the output
    ((0.0301, -7), (0.0173, -118)),
    ((0.11, 25), (0.0513, -125)),
    ((0.004, 0), (0.003, 3)),
]


def write_model(operator: str, options, tensors: list[dict], inputs: int) -> bytes:
    """One operator; the tensors with an array are constants, the last one is the output."""
    schema = read_schema()
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode = min(127, code.builtinCode)
    code.version = {"FULLY_CONNECTED": 4}.get(operator, 1)
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, graph.tensors = [schema.BufferT()], []
    for number, given in enumerate(tensors):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"net/layer/t{number}", list(given["shape"])
        tensor.type = getattr(schema.TensorType, given.get("type", "INT8"))
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = list(np.atleast_1d(given["scale"]))
        tensor.quantization.zeroPoint = list(np.atleast_1d(given.get("zero", 0)))
        if "array" in given:
            tensor.buffer = len(model.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(given["array"].tobytes(), np.uint8)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    node = schema.OperatorT()
    node.inputs, node.outputs = list(range(inputs)), [inputs]
    node.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
    node.builtinOptions = options
    graph.operators, graph.inputs, graph.outputs = [node], [0], [inputs]
    return pack_model(model)


def rewrite(data: bytes) -> tuple[bytes, list[str], tuple[str, ...]]:
    """(the file for microcontrollers, its operators, steps taken)."""
    graph = TfliteGraph(data)
    steps = suit_micro(graph)
    return graph.to_bytes(), graph.kinds, steps


def write_gelu(entering, leaving, approximate=False) -> bytes:
    options = read_schema().GeluOptionsT()
    options.approximate = approximate
    x, y = ({"shape": (1, 256), "scale": s, "zero": [z]} for s, z in (entering, leaving))
    return write_model("GELU", options, [x, y], 1)


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize(("entering", "leaving"), GELUS)
def test_every_level_gets_the_answer_of_the_kernel(run_tflite, entering, leaving, approximate):
    levels = np.arange(-128, 128).astype(np.int8)[None]
    data = write_gelu(entering, leaving, approximate)
    wanted = run_tflite(data, levels, "reference")
    assert len(set(wanted[0].tolist())) > 50
    np.testing.assert_array_equal(gelu_table(entering, leaving, approximate), wanted[0])
    rewritten, kinds, steps = rewrite(data)
    assert kinds == ["CAST", "ADD", "GATHER"]
    np.testing.assert_array_equal(run_tflite(rewritten, levels, "reference"), wanted)
    assert steps[0].startswith("1 GELU")


def write_dense(
    shape, width: int, activation: str = "NONE", constant: bool = True, biased: bool = True
) -> bytes:
    rng = np.random.default_rng(2)
    options = read_schema().FullyConnectedOptionsT()
    options.keepNumDims = True
    options.fusedActivationFunction = getattr(read_schema().ActivationFunctionType, activation)
    depth = shape[-1]
    scales = rng.uniform(0.002, 0.02, width).astype(np.float32)
    kernel = {"shape": (width, depth), "scale": scales, "zero": np.zeros(width, int)}
    if constant:
        kernel["array"] = rng.integers(-127, 128, (width, depth)).astype(np.int8)
    else:
        kernel = {"shape": (width, depth), "scale": 0.01}
    bias = {
        "shape": (width,),
        "type": "INT32",
        "scale": scales * 0.05,
        "zero": np.zeros(width, int),
    }
    bias["array"] = rng.integers(-900, 900, width).astype(np.int32)
    x = {"shape": shape, "scale": 0.05, "zero": [4]}
    y = {"shape": (*shape[:-1], width), "scale": 0.31, "zero": [-9]}
    inputs = [x, kernel, bias] if biased else [x, kernel]
    return write_model("FULLY_CONNECTED", options, [*inputs, y], len(inputs))


@pytest.mark.parametrize(
    ("shape", "operators"),
    [
        ((1, 3, 5, 24), ["CONV_2D"]),
        ((1, 15, 24), ["RESHAPE", "CONV_2D", "RESHAPE"]),
        ((1, 24), ["RESHAPE", "CONV_2D", "RESHAPE"]),
    ],
)
@pytest.mark.parametrize(
    ("activation", "biased"), [("NONE", True), ("RELU", True), ("NONE", False)]
)
def test_a_dense_layer_is_a_convolution_within_one_level(
    run_tflite, shape, operators, activation, biased
):
    data = write_dense(shape, 16, activation, biased=biased)
    x = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    rewritten, kinds, steps = rewrite(data)
    assert kinds == operators
    found, wanted = (run_tflite(file, x, "reference") for file in (rewritten, data))
    assert found.shape == wanted.shape
    assert int(wanted.max()) - int(wanted.min()) > 60
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1  # they round differently
    assert steps[1].startswith("1 Dense")


def test_a_product_with_computed_weights_stays():
    data = write_dense((1, 4, 24), 16, constant=False)
    _, kinds, steps = rewrite(data)
    assert kinds == ["FULLY_CONNECTED"]
    assert steps[1].startswith("0 Dense")


def test_a_float_gelu_stays():
    options = read_schema().GeluOptionsT()
    tensor = {"shape": (1, 256), "type": "FLOAT32", "scale": []}
    data = write_model("GELU", options, [tensor, tensor], 1)
    _, kinds, _ = rewrite(data)
    assert kinds == ["GELU"]
