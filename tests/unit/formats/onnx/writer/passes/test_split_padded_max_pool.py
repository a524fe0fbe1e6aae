"""Padding before max pooling keeps its meaning in onnxruntime, which moves it where it loses it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgevit.formats.onnx.writer.passes.library import infer_shapes
from edgevit.formats.onnx.writer.passes.split_padded_max_pool import split_padded_max_pool
from edgevit.formats.onnx.writer.passes.table import PASSES
from edgevit.formats.passes import run_passes

ROWS, COLUMNS = 6, 7


def model_of(
    pads=(1, 1, 1, 0), value=0.0, mode="constant", axes=(2, 3), rank_pads=None, twice=False, **pool
) -> onnx.ModelProto:
    """images -> Pad -> MaxPool -> pooled."""
    whole = [0] * 8
    whole[axes[0]], whole[axes[1]], whole[4 + axes[0]], whole[4 + axes[1]] = pads
    constants = [
        numpy_helper.from_array(np.array(rank_pads or whole, np.int64), "pads"),
        numpy_helper.from_array(np.array(value, np.float32), "value"),
    ]
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], **pool}
    nodes = [
        helper.make_node("Pad", ["images", "pads", "value"], ["padded"], mode=mode),
        helper.make_node("MaxPool", ["padded"], ["pooled"], **attributes),
    ]
    outputs = [helper.make_tensor_value_info("pooled", onnx.TensorProto.FLOAT, list("bchw"))]
    if twice:
        nodes.append(helper.make_node("Neg", ["padded"], ["other"]))
        outputs.append(helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, list("ijkl")))
    entry = helper.make_tensor_value_info(
        "images", onnx.TensorProto.FLOAT, ["batch", 2, ROWS, COLUMNS]
    )
    graph = helper.make_graph(nodes, "test", [entry], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, images: np.ndarray, optimise: bool = True) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["pooled"], {"images": images})[0]


def rewritten(proto: onnx.ModelProto) -> tuple[int, onnx.ModelProto]:
    model = ir.from_proto(proto)
    infer_shapes.run(model)
    count = split_padded_max_pool.run(model).count
    return count, ir.to_proto(model)


@pytest.fixture(scope="module")
def negative() -> np.ndarray:
    return -np.random.default_rng(0).uniform(0.5, 1.5, (3, 2, ROWS, COLUMNS)).astype(np.float32)


def test_onnxruntime_still_loses_the_padding(negative):
    """When this fails, onnxruntime was mended, and the pass can go."""
    model = model_of()
    assert np.abs(run(model, negative) - run(model, negative, optimise=False)).max() > 0.4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"value": -0.9},
        {"pads": (0, 2, 2, 1)},
        {"pads": (2, 2, 2, 2), "strides": [1, 1]},
        {"strides": [3, 2], "kernel_shape": [3, 4], "pads": (1, 0, 2, 3)},
        {"dilations": [2, 1], "strides": [1, 2]},
        {"pads": (1, 0, 0, 1), "pool_pads": [1, 1, 0, 0]},
        {"pads": (0, 0, 0, 0)},
        {"auto_pad": "VALID"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["negative", "mixed"])
def test_the_rewritten_graph_computes_what_the_first_one_says(options, kind, negative):
    options = dict(options)
    if "pool_pads" in options:
        options["pads_of_pool"] = options.pop("pool_pads")
    pool_pads = options.pop("pads_of_pool", None)
    model = model_of(**options)
    if pool_pads:
        model.graph.node[1].attribute.append(helper.make_attribute("pads", pool_pads))
    images = negative if kind == "negative" else negative + 1
    expected = run(model, images, optimise=False)
    count, model = rewritten(model)
    assert count == 1
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MaxPool", "Max"]
    for optimise in (True, False):
        np.testing.assert_array_equal(run(model, images, optimise), expected)


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid"])
def test_behind_an_activation_that_is_never_negative_the_pool_just_pads(activation, negative):
    model = model_of(kernel_shape=[3, 3], pads=(1, 1, 1, 0))
    model.graph.node.insert(0, helper.make_node(activation, ["images"], ["active"]))
    model.graph.node[1].input[0] = "active"
    images = np.concatenate([negative, negative + 1])
    expected = run(model, images, optimise=False)
    count, model = rewritten(model)
    assert count == 1
    assert [node.op_type for node in model.graph.node] == [activation, "MaxPool"]
    for optimise in (True, False):
        np.testing.assert_array_equal(run(model, images, optimise), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "reflect"},
        {"mode": "edge"},
        {"axes": (1, 2)},  # channels
        {"pads": (3, 0, 0, 0)},  # as large as the window
        {"pads": (-1, 0, 0, 0)},
        {"twice": True},
        {"auto_pad": "SAME_UPPER"},
        {"ceil_mode": 1},
    ],
    ids=str,
)
def test_what_it_must_not_touch_stays(options):
    model = model_of(**options)
    count, after = rewritten(model)
    assert count == 0
    assert list(after.graph.node) == list(ir.to_proto(ir.from_proto(model)).graph.node)


def test_the_pass_is_among_those_that_are_run():
    found = {report.name: report.count for report in run_passes(ir.from_proto(model_of()), PASSES)}
    assert found["split_padded_max_pool"] == 1
