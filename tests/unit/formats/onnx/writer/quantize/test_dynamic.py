"""Dynamic int8 ONNX: int8 weights, inputs quantised at run time, one kernel a layer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.quantize.dynamic import quantize_dynamic


@pytest.fixture
def quantized(graphs, block) -> onnx.ModelProto:
    graphs.apply(quantize_dynamic, block)
    onnx.checker.check_model(block, full_check=True)
    return block


def test_quantised_logits_are_near_the_float_ones(graphs, quantized, images):
    expected = graphs.run(graphs.transformer_block(), images)
    difference = np.abs(graphs.run(quantized, images) - expected)
    assert 0 < difference.mean() / expected.std() < 0.03


def test_onnxruntime_runs_every_dense_layer_as_one_integer_kernel(graphs, quantized, tmp_path):
    found = graphs.kinds(graphs.optimised_nodes(quantized, tmp_path))
    fused = found.count("DynamicQuantizeMatMul") + found.count("MatMulIntegerToFloat")
    assert fused == 7
    assert "MatMulInteger" not in found
    assert found.count("MatMul") + found.count("FusedMatMul") == 2  # attention's own products
    assert found.count("Conv") == 2


def test_an_input_that_several_layers_share_is_quantised_once(quantized):
    kinds = [node.op_type for node in quantized.graph.node]
    assert kinds.count("MatMulInteger") == 7
    assert kinds.count("DynamicQuantizeLinear") == 5


def test_the_manifest_names_what_was_left_in_float(graphs, block):
    (first, left) = graphs.apply(quantize_dynamic, block)
    assert first.startswith("int8 weights of 7 layers")
    assert left == "left in float32: net/patches/Conv, net/depthwise/Conv"


def test_layers_that_share_weights_share_their_levels(graphs):
    g = graphs.Graph([4, 8])
    kernel = g.weights("kernel", 8, 8)
    x = g.add("MatMul", "net/first", "images", kernel)
    model = g.model(g.add("MatMul", "net/second", x, kernel), [4, 8])
    graphs.apply(quantize_dynamic, model)
    kinds = [tensor.data_type for tensor in model.graph.initializer]
    assert kinds.count(onnx.TensorProto.INT8) == 1
    batch = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    assert np.isfinite(graphs.open_session(model).run(None, {"images": batch})[0]).all()


def test_a_graph_without_dense_layers_is_refused(graphs):
    g = graphs.Graph([4, 4])
    with pytest.raises(ExportError, match="no Gemm or MatMul"):
        graphs.apply(quantize_dynamic, g.model(g.add("Relu", "net", "images"), [4, 4]))
