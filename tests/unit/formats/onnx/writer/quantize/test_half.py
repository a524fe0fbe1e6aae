"""float16 ONNX: half precision where it does no harm, float32 at borders and fragile spots."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.quantize.half import to_half

HALF, SINGLE = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@pytest.fixture
def halved(graphs, block) -> onnx.ModelProto:
    graphs.apply(to_half, block)
    onnx.checker.check_model(block, full_check=True)
    return block


def types(model) -> dict[str, int]:
    """Element type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def test_inputs_and_outputs_are_float32_and_weights_float16(halved):
    found = types(halved)
    assert found["images"] == found["logits"] == SINGLE
    stored = {tensor.data_type for tensor in halved.graph.initializer}
    assert stored == {HALF, onnx.TensorProto.INT64}


def test_logits_stay_near_in_onnxruntime_and_in_true_half_arithmetic(graphs, halved, images):
    expected = graphs.run(graphs.transformer_block(), images[:4])
    difference = np.abs(graphs.run(halved, images[:4]) - expected)
    assert 0 < difference.max() < 5e-3 * np.abs(expected).max()
    evaluator = ReferenceEvaluator(halved)
    found = [evaluator.run(None, {"images": image[None]})[0] for image in images[:4]]
    assert np.abs(np.stack(found) - expected).max() < 5e-3 * np.abs(expected).max()


def test_only_the_borders_are_cast(halved):
    casts = [node for node in halved.graph.node if node.op_type == "Cast"]
    assert len(casts) == 2
    assert casts[0].input[0] == "images"
    assert casts[-1].output[0] == "logits"


def written_out_norm(graphs, epsilon=1e-6):
    g = graphs.Graph([4, 8])
    x = g.dense("net/before", "images", 8, 8)
    mean = g.add("ReduceMean", "net/norm/mean", x, axes_of(g), keepdims=1)
    centred = g.add("Sub", "net/norm", x, mean)
    square = g.add("Mul", "net/norm", centred, centred)
    variance = g.add("ReduceMean", "net/norm", square, axes_of(g), keepdims=1)
    shifted = g.add("Add", "net/norm", variance, g.constant("epsilon", np.float32(epsilon)))
    root = g.add("Sqrt", "net/norm", shifted)
    y = g.add("Div", "net/norm", centred, root)
    y = g.add("Relu", "net/relu", y)
    return g.model(g.dense("net/after", y, 8, 3), [4, 3])


def axes_of(g):
    name = f"axes{len(g.constants)}"
    return g.constant(name, np.array([-1]))


def test_a_written_out_normalisation_stays_in_float32(graphs):
    model = written_out_norm(graphs)
    batch = 300 * np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    expected = graphs.open_session(model).run(None, {"images": batch})[0]
    graphs.apply(to_half, model)
    found = types(model)
    for node in model.graph.node:
        inside = node.name.startswith("net/norm/") and node.op_type != "Cast"
        if inside:
            assert found[node.output[0]] == SINGLE, node.name
        elif node.op_type in ("Gemm", "Relu"):
            assert found[node.input[0]] == HALF, node.name
    logits = ReferenceEvaluator(model).run(None, {"images": batch})[0]
    np.testing.assert_allclose(logits, expected, atol=0.02)


def test_half_precision_would_overflow_in_a_written_out_normalisation(graphs, monkeypatch):
    from edgevit.formats.onnx.writer.quantize import half as onnx_half

    monkeypatch.setattr(onnx_half, "NORMALISING", set())
    monkeypatch.setattr(onnx_half, "HALF", onnx_half.HALF | {"ReduceMean", "Sqrt"})
    model = written_out_norm(graphs)
    batch = 300 * np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    expected = graphs.open_session(model).run(None, {"images": batch})[0]
    graphs.apply(to_half, model)
    with np.errstate(over="ignore"):
        logits = ReferenceEvaluator(model).run(None, {"images": batch})[0]
    assert not np.allclose(logits, expected, atol=0.02)


def test_what_comes_before_the_first_layer_stays_in_float32(graphs):
    g = graphs.Graph([4, 8])
    scaled = g.add("Mul", "prepare", "images", g.constant("scale", np.float32(1 / 255)))
    model = g.model(g.dense("net/fc", scaled, 8, 3), [4, 3])
    graphs.apply(to_half, model)
    found = types(model)
    assert found["prepare/Mul:0"] == SINGLE


def test_an_operator_with_a_constant_beyond_half_precision_stays_in_float32(graphs):
    g = graphs.Graph([4, 8])
    x = g.dense("net/fc", "images", 8, 8)
    mask = np.zeros((4, 8), np.float32)
    mask[:, 5:] = -1e9  # as masks of attention have it
    x = g.add("Add", "net/mask", x, g.constant("mask", mask))
    x = g.add("Softmax", "net/shares", x)
    model = g.model(g.dense("net/head", x, 8, 3), [4, 3])
    batch = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    expected = graphs.open_session(model).run(None, {"images": batch})[0]
    graphs.apply(to_half, model)
    assert types(model)["net/mask/Add:0"] == SINGLE
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert constants["mask"].min() == np.float32(-1e9)
    found = graphs.open_session(model).run(None, {"images": batch})[0]
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_the_manifest_counts_what_was_kept(graphs):
    steps = graphs.apply(to_half, written_out_norm(graphs))
    assert steps == (
        "float16 weights and arithmetic in 3 operators",
        "kept in float32: 1 Add, 1 Div, 1 Mul, 2 ReduceMean, 1 Sqrt, 1 Sub",
    )


def test_an_output_that_the_graph_goes_on_with_is_cast_for_the_outside_only(graphs):
    g = graphs.Graph([4, 8])
    middle = g.dense("net/fc", "images", 8, 8)
    model = g.model(g.add("Relu", "net/relu", middle), [4, 8])
    model.graph.output.append(onnx.helper.make_tensor_value_info(middle, SINGLE, [4, 8]))
    batch = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    expected = graphs.open_session(model).run(None, {"images": batch})
    graphs.apply(to_half, model)
    onnx.checker.check_model(model, full_check=True)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    (maker,) = [node for node in model.graph.node if relu.input[0] in node.output]
    assert maker.op_type == "Gemm"  # in half precision, without a detour through float32
    assert types(model)[relu.input[0]] == HALF
    assert types(model)[middle] == SINGLE
    for found, wanted in zip(
        graphs.open_session(model).run(None, {"images": batch}), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=0.01)


def test_a_graph_without_weights_is_refused(graphs):
    g = graphs.Graph([4, 4])
    with pytest.raises(ExportError, match="no Gemm, MatMul or Conv"):
        graphs.apply(to_half, g.model(g.add("Relu", "net", "images"), [4, 4]))
