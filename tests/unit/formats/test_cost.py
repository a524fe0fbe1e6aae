"""MACs and bytes, held against counts made by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevit.base.errors import ModelFileError
from edgevit.bench.products import write_product
from edgevit.core.format import Format
from edgevit.core.target import Precision
from edgevit.formats.registry import count_cost


def write_onnx(path, nodes, inputs, outputs, constants, kind=TensorProto.FLOAT, domains=("",)):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in domains]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


@pytest.mark.parametrize("kind", [Format.TFLITE, Format.ONNX])
@pytest.mark.parametrize(("precision", "size"), [(Precision.FLOAT32, 4), (Precision.INT8, 1)])
def test_a_matrix_product_has_rows_times_depth_times_width(tmp_path, kind, precision, size):
    path = tmp_path / f"p.{kind}"
    write_product(path, kind, precision, rows=3, depth=5, width=7)
    found = count_cost(path)
    assert found.macs == {str(precision): 3 * 5 * 7}
    assert found.activation_bytes == size * (3 * 5 + 3 * 7)
    assert found.weight_bytes >= size * 5 * 7
    assert found.uncounted == ()


def test_a_grouped_convolution_counts_its_group_s_channels(tmp_path):
    weights = np.zeros((8, 2, 3, 3), np.float32)  # O I/groups H W
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2])
    path = write_onnx(
        tmp_path / "c.onnx", [node], {"x": (1, 4, 9, 9)}, {"y": (1, 8, 4, 4)}, {"w": weights}
    )
    assert count_cost(path).macs == {"float32": 8 * 4 * 4 * (2 * 3 * 3)}


def test_a_batched_product_and_a_transposed_gemm(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("Gemm", ["d", "e"], ["f"], transA=1, transB=1),
    ]
    path = write_onnx(
        tmp_path / "m.onnx",
        nodes,
        {"a": (2, 4, 5, 6), "b": (2, 4, 6, 7), "d": (11, 3)},
        {"c": (2, 4, 5, 7), "f": (3, 13)},
        {"e": np.zeros((13, 11), np.float32)},
    )
    assert count_cost(path).macs == {"float32": 2 * 4 * 5 * 6 * 7 + 3 * 11 * 13}


def test_a_free_batch_is_set(tmp_path):
    node = helper.make_node("MatMul", ["a", "w"], ["c"])
    path = write_onnx(
        tmp_path / "m.onnx",
        [node],
        {"a": ("N", 5)},
        {"c": ("N", 7)},
        {"w": np.zeros((5, 7), np.float32)},
    )
    assert count_cost(path, 1).macs == {"float32": 35}
    assert count_cost(path, 8).macs == {"float32": 280}
    assert count_cost(path, 8).weight_bytes == count_cost(path, 1).weight_bytes


def test_integer_products_and_qdq_pairs_count_as_integers(tmp_path):
    scale, zero = np.array(0.1, np.float32), np.array(0, np.int8)
    constants = {"w": np.zeros((5, 7), np.int8), "s": scale, "z": zero}
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["c"]),
    ]
    path = write_onnx(tmp_path / "q.onnx", nodes, {"a": (3, 5)}, {"c": (3, 7)}, constants)
    found = count_cost(path)
    assert found.macs == {"int8": 3 * 5 * 7}
    assert found.weight_bytes == 5 * 7 + 4 + 1
    assert found.activation_bytes == 3 * 5 + 4 * 3 * 7  # bytes in, float32 out
    weights_only = [nodes[2], helper.make_node("MatMul", ["a", "v"], ["c"])]
    path = write_onnx(tmp_path / "w.onnx", weights_only, {"a": (3, 5)}, {"c": (3, 7)}, constants)
    assert count_cost(path).macs == {"float32": 3 * 5 * 7}


def test_what_multiplies_but_cannot_be_counted_is_named(tmp_path):
    node = helper.make_node("Einsum", ["a", "b"], ["c"], equation="ij,jk->ik")
    path = write_onnx(tmp_path / "e.onnx", [node], {"a": (3, 5), "b": (5, 7)}, {"c": (3, 7)}, {})
    assert count_cost(path).uncounted == ("Einsum",)


def test_a_damaged_file_is_refused(tmp_path):
    for name in ("x.onnx", "x.tflite"):
        (tmp_path / name).write_bytes(b"no model at all")
        with pytest.raises(ModelFileError):
            count_cost(tmp_path / name)
