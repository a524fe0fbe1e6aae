"""What is really inside the exported files: operators, element types, partitions."""

from __future__ import annotations

import pytest

from edgevit.base.errors import ExportError
from edgevit.base.files import size_path
from edgevit.core.format import Format
from edgevit.formats.registry import TARGETS, find_target
from edgevit.verification.audit import audit, inspect

FLOAT_ISLANDS = [name for name, target in TARGETS.items() if not target.integer_only]


@pytest.fixture(scope="module")
def inspections(exported) -> dict:
    return {name: inspect(path) for name, path in exported.items()}


def test_the_file_passes_the_audit_of_its_own_target(inspections, target):
    audit(inspections[target.name], target, "net")


def test_size_format_and_borders_are_those_of_the_file(inspections, exported, target):
    found = inspections[target.name]
    assert found.format == str(target.format)
    assert found.size_bytes == size_path(exported[target.name])
    assert [(spec.name, spec.shape, spec.dtype) for spec in found.inputs] == [
        ("images", (1, 12, 12, 3), "uint8")
    ]
    assert [spec.name for spec in found.outputs] == ["logits"]


def test_no_file_holds_a_custom_operator(inspections, target):
    assert inspections[target.name].custom_ops == ()


def test_the_integer_file_holds_no_float_at_all(inspections):
    found = inspections["tflite-int8"]
    assert found.integer_only
    assert found.float_ops == {}
    assert set(found.tensor_types) <= {"uint8", "int8", "int16", "int32", "int64", "bool"}
    assert found.tensor_types["int8"] > 40
    assert (found.inputs[0].dtype, found.outputs[0].dtype) == ("uint8", "int8")


@pytest.mark.parametrize("name", FLOAT_ISLANDS)
def test_float_operators_of_every_other_file_are_reported(inspections, name):
    found = inspections[name]
    assert not found.integer_only
    assert found.float_ops
    for operator, count in found.float_ops.items():
        assert 1 <= count <= found.ops[operator]


@pytest.mark.parametrize("name", FLOAT_ISLANDS)
def test_the_audit_refuses_a_float_file_where_integers_were_promised(inspections, name):
    with pytest.raises(ExportError, match="must hold integers only") as caught:
        audit(inspections[name], find_target("tflite-int8"), "net")
    for operator in inspections[name].float_ops:
        assert operator in str(caught.value)


def test_operators_of_tflite_files_are_counted_as_litert_lists_them(exported, inspections, target):
    if target.format is not Format.TFLITE:
        pytest.skip("LiteRT lists TFLite files only")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(exported[target.name]), experimental_op_resolver_type=plain)
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert inspections[target.name].ops == {name: names.count(name) for name in names}


def test_operators_of_the_onnx_file_are_counted_node_by_node(exported, inspections):
    import onnx

    names = [node.op_type for node in onnx.load(exported["onnx-float32"]).graph.node]
    found = inspections["onnx-float32"]
    assert found.ops == {name: names.count(name) for name in names}
    assert "Gelu" in found.ops
    assert "Erf" not in found.ops
    assert sum(found.ops.values()) < 120


def test_layer_normalisation_is_written_in_the_lowered_form(inspections):
    for name in ("tflite-float32", "tflite-int8"):
        ops = inspections[name].ops
        assert ops["RSQRT"] == 3  # one for each LayerNormalization
        assert ops["GELU"] == 2
        assert "SQUARED_DIFFERENCE" not in ops
        assert "NEG" not in ops


def test_xnnpack_takes_nearly_the_whole_float_graph(inspections):
    found = inspections["tflite-float32"].partitions
    assert found == {"delegated": 1, "left": 1}  # the cast of the raw image stays behind
    integer = inspections["tflite-int8"].partitions
    assert integer["delegated"] >= 1
    assert 0 < integer["left"] < sum(inspections["tflite-int8"].ops.values()) / 2


def test_only_tflite_files_have_partitions(inspections, target):
    assert (inspections[target.name].partitions is None) == (target.format is not Format.TFLITE)


def test_stored_values_are_about_as_many_as_the_network_has_weights(inspections, tiny_run):
    from edgevit.models.weights import load_model

    weights = sum(array.size for array in load_model(str(tiny_run)).network.get_weights())
    for name in ("tflite-float32", "tflite-int8", "onnx-float32", "onnx-float16"):
        assert inspections[name].parameters == pytest.approx(weights, rel=0.03)


def test_the_largest_tensors_are_those_of_the_file(inspections, exported):
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(exported["onnx-float32"]).graph
    sizes = sorted(numpy_helper.to_array(tensor).nbytes for tensor in graph.initializer)[::-1]
    found = inspections["onnx-float32"].largest
    assert [tensor.size_bytes for tensor in found] == sizes[:10]
    assert found[0].dtype == "float32"


def test_the_largest_tensors_of_an_integer_file_hold_a_byte_a_value(inspections):
    found = inspections["tflite-int8"].largest
    assert len(found) == 10
    assert found[0].dtype == "int8"
    rows, columns, *rest = found[0].shape
    assert found[0].size_bytes == rows * columns * (rest[0] * rest[1] if rest else 1)
    sizes = [tensor.size_bytes for tensor in found]
    assert sizes == sorted(sizes, reverse=True)


def test_what_onnxruntime_runs_is_counted_after_its_own_optimisation(exported, inspections):
    assert inspections["onnx-float32"].optimized_ops is None  # only if asked for
    found = inspect(exported["onnx-float32"], optimized=True)
    written, run = found.ops, found.optimized_ops
    assert run["Gemm"] == written["Gemm"]
    assert 0 < sum(run.values()) <= sum(written.values()) + 10  # it adds layout changes only
    fused = inspect(exported["onnx-int8"], optimized=True)
    assert "QGemm" in fused.optimized_ops
    assert "QGemm" not in fused.ops
    assert inspect(exported["tflite-int8"], optimized=True).optimized_ops is None


def test_the_command_lists_what_onnxruntime_runs_and_the_largest_tensors(command, exported):
    answer = command("inspect", exported["onnx-float32"])
    assert answer.code == 0
    assert "onnxruntime runs" in answer.out
    assert "largest tensors" in answer.out
    document = command("inspect", exported["onnx-float32"], "--json").document
    assert document["optimized_ops"]
    assert document["largest"][0]["size_bytes"] > 0


# The tiny ShiftViT: 4x4 patches of 4x4x3 pixels, two stages of one block (MLP ratio 2), 10 classes.
PRODUCTS = {
    "patches": 16 * 48 * 48,
    "stage1": 16 * (48 * 96 + 96 * 48),
    "merge": 4 * (4 * 48) * 96,
    "stage2": 4 * (96 * 192 + 192 * 96),
    "classifier": 96 * 10,
}


@pytest.mark.parametrize(
    ("name", "kind", "beside"),
    [
        ("tflite-float32", "float32", 0),
        ("tflite-int8", "int8", 0),
        ("onnx-float32", "float32", 4 * 96),  # the mean over four positions is a product there
    ],
)
def test_multiply_accumulates_are_those_of_the_layers(exported, name, kind, beside):
    assert inspect(exported[name]).work is None  # only if asked for
    work = inspect(exported[name], work=True).work
    assert work.macs == {kind: sum(PRODUCTS.values()) + beside}
    assert work.uncounted == ()


def test_a_saved_model_s_work_is_not_counted(exported):
    assert inspect(exported["savedmodel"], work=True).work is None


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_the_command_says_which_nodes_take_the_time(command, exported, name):
    plain = command("inspect", exported[name], "--json").document
    assert plain["macs"] == sum(plain["work"]["macs"].values()) > 0
    assert "profile" not in plain
    document = command("inspect", exported[name], "--profile", "--runs", 2, "--json").document
    found = document.pop("profile")
    assert document == plain
    assert found["runs"] == 2
    assert found["plain_us"] > 0
    ran = {row["name"]: row["count"] for row in found["ops"]}
    if name == "onnx-float32":
        assert ran == plain["optimized_ops"]
    assert len(found["nodes"]) == sum(ran.values())
    times = [node["time_us"] for node in found["nodes"]]
    assert times == sorted(times, reverse=True)
    assert {node["op"] for node in found["nodes"]} == set(ran)


def test_the_command_draws_the_time_and_the_work(command, exported):
    text = command("inspect", exported["onnx-float32"], "--profile", "--runs", 1).out
    for part in ("operator that ran", "slowest nodes", "multiply-accumulates a run", "onnxruntime"):
        assert part in text
    assert "slowest nodes" not in command("inspect", exported["onnx-float32"]).out


def test_a_saved_model_cannot_be_profiled_while_inspected(command, exported):
    answer = command("inspect", exported["savedmodel"], "--profile")
    assert answer.code == 2
    assert "Profile the .tflite or .onnx file" in answer.error
