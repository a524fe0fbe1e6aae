"""Which tensors of an .onnx file are read for the layers that they come from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgevit.formats.onnx.runtime.intermediate import OnnxIntermediateReader


@pytest.fixture
def path(tmp_path):
    """A depthwise convolution in integers whose channels are read by steps of their own."""
    rng = np.random.default_rng(0)
    constants = {
        "weights": rng.normal(size=(4, 1, 1, 1)).astype(np.float32),
        "step": np.float32(0.05),
        "zero": np.uint8(128),
        "steps": np.float32([0.05, 0.04, 0.03, 0.02]),
        "zeros": np.full(4, 128, np.uint8),
    }
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["net/b/Conv:0"], group=4),
        helper.make_node("Conv", ["net/b/Conv:0", "weights"], ["net/a/Conv/float"], group=4),
        helper.make_node(
            "QuantizeLinear", ["net/a/Conv/float", "step", "zero"], ["net/a/Conv/QuantizeLinear:0"]
        ),
        helper.make_node(
            "DequantizeLinear",
            ["net/a/Conv/QuantizeLinear:0", "steps", "zeros"],
            ["net/a/Conv:0"],
            axis=1,
        ),
        helper.make_node("Relu", ["net/a/Conv:0"], ["logits"]),
    ]
    borders = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 3, 3])
        for name in ("images", "logits")
    ]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", borders[:1], borders[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_sums_before_they_are_rounded_belong_to_no_layer(path):
    with OnnxIntermediateReader(path) as reader:
        found = {tensor.name: (tensor.layer, tensor.depthwise) for tensor in reader.tensors}
    assert found == {
        "net/b/Conv:0": ("net/b", True),
        "net/a/Conv:0": ("net/a", False),
        "logits": ("", False),
    }


def test_floats_in_front_of_steps_are_what_enters_a_product(tmp_path):
    """Steps of channels are divided by in front of a QuantizeLinear, and zeros added behind."""
    rng = np.random.default_rng(0)
    steps = np.float32([0.05, 0.04, 0.03, 0.02])
    constants = {
        "one": np.float32(1),
        "none": np.uint8(0),
        "step": np.float32(0.1),
        "zero": np.uint8(128),
        "steps": steps.reshape(4, 1, 1),
        "zeros": np.float32([0, 1, 2, 3]).reshape(4, 1, 1),
        "weights": rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "weights4"], ["net/a/Conv/float"], "net/a/Conv"),
        helper.make_node("Div", ["net/a/Conv/float", "steps"], ["net/b/QuantizeLinear_steps:0"]),
        helper.make_node(
            "Add", ["net/b/QuantizeLinear_steps:0", "zeros"], ["net/b/QuantizeLinear_zeros:0"]
        ),
        helper.make_node(
            "QuantizeLinear", ["net/b/QuantizeLinear_zeros:0", "one", "none"], ["levels"]
        ),
        helper.make_node("DequantizeLinear", ["levels", "step", "zero"], ["read"]),
        helper.make_node("Conv", ["read", "weights"], ["logits"], "net/b/Conv"),
    ]
    constants["weights4"] = rng.normal(size=(4, 4, 1, 1)).astype(np.float32)
    borders = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 3, 3])
        for name, channels in (("images", 4), ("logits", 2))
    ]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", borders[:1], borders[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "net.onnx")
    with OnnxIntermediateReader(tmp_path / "net.onnx") as reader:
        product = reader.products[-1]
    assert product.entering == "net/a/Conv/float"
    np.testing.assert_allclose(product.factors, 0.1 / steps, rtol=1e-6)
    np.testing.assert_allclose(product.offsets, 0.1 * (np.arange(4) - 128), rtol=1e-6)


def test_scales_measured_at_run_time_are_no_outputs(tmp_path):
    """Of two classes there are two scales, and both stand in the layer's name."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["features"], ["levels", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["levels", "weights", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["net/a/Gemm/Cast:0"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "scales"], ["net/a/Gemm/Mul:0"]),
        helper.make_node("Mul", ["net/a/Gemm/Cast:0", "net/a/Gemm/Mul:0"], ["net/a/Gemm/scaled"]),
        helper.make_node("Softmax", ["net/a/Gemm/scaled"], ["scores"]),
    ]
    weights = np.random.default_rng(0).integers(-127, 128, (4, 2)).astype(np.int8)
    constants = {"weights": weights, "scales": np.float32([0.1, 0.2])}
    borders = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
        for name, size in (("features", 4), ("scores", 2))
    ]
    arrays = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", borders[:1], borders[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "net.onnx")
    with OnnxIntermediateReader(tmp_path / "net.onnx") as reader:
        found = {tensor.name for tensor in reader.tensors}
    assert found == {"net/a/Gemm/Cast:0", "net/a/Gemm/scaled", "scores"}
