"""The audit refuses operators that no edge runtime has, and floats where integers were promised."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

import tensorflow as tf

from edgevit.base.errors import ExportError
from edgevit.core.inspection import Inspection
from edgevit.core.tensors import TensorSpec
from edgevit.formats.registry import TARGETS, find_target
from edgevit.formats.tflite.runtime.file import custom_op_names, op_names, parse_model
from edgevit.verification.audit import audit, inspect

CLEAN = Inspection(
    format="tflite",
    size_bytes=10,
    ops={"CONV_2D": 2, "ADD": 1},
    tensor_types={"int8": 5, "int32": 1},
    integer_only=True,
    float_ops={},
    custom_ops=(),
    partitions=None,
    parameters=4,
    inputs=(),
    outputs=(),
)


def changed(**values) -> Inspection:
    return Inspection(**{**vars(CLEAN), **values})


def convert(function, path: Path, **options) -> Path:
    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32, name="images")])
    def forward(images):
        return {"logits": function(tf.reduce_mean(images, axis=(1, 2)))}

    module = tf.Module()
    module.forward = forward
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [forward.get_concrete_function()], module
    )
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    for name, value in options.items():
        setattr(converter, name, value)
    path.write_bytes(bytes(converter.convert()))
    return path


@pytest.fixture(scope="module")
def foreign_files(tmp_path_factory) -> dict[str, Path]:
    """Graphs with an operator that LiteRT has through TensorFlow only, or not at all."""
    folder = tmp_path_factory.mktemp("foreign")
    return {
        "FlexTan": convert(tf.math.tan, folder / "flex.tflite"),
        "Erfc": convert(tf.math.erfc, folder / "custom.tflite", allow_custom_ops=True),
    }


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_integers_and_builtins_pass_for_every_target(target):
    audit(CLEAN, target, "net.tflite")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_custom_operator_is_refused_for_every_target(target):
    with pytest.raises(ExportError, match=r"net\.tflite: FlexErfc, Mine .*no builtin operator"):
        audit(changed(custom_ops=("FlexErfc", "Mine")), target, "net.tflite")


def test_a_float_island_is_refused_where_integers_were_promised_and_the_operators_are_named():
    island = changed(integer_only=False, float_ops={"RSQRT": 2, "MUL": 1})
    with pytest.raises(ExportError, match="1 MUL, 2 RSQRT"):
        audit(island, find_target("tflite-int8"), "net.tflite")
    audit(island, find_target("tflite-dynamic"), "net.tflite")


def test_floats_at_the_border_alone_are_what_the_user_asked_for():
    specs = {
        "inputs": (TensorSpec("images", (1, 4, 4, 3), "float32"),),
        "outputs": (TensorSpec("logits", (1, 3), "float32"),),
        "integer_only": False,
    }
    border = {"tensor_types": {"int8": 5, "float32": 2}, "float_ops": {"QUANTIZE": 1}}
    audit(changed(**specs, **border), find_target("tflite-int8"), "net.tflite")
    for inner in (
        {**border, "tensor_types": {"int8": 5, "float32": 3}},
        {**border, "tensor_types": {"int8": 5, "float32": 2, "float16": 1}},
        {**border, "float_ops": {"QUANTIZE": 1, "ADD": 1}},
    ):
        with pytest.raises(ExportError, match="must hold integers only"):
            audit(changed(**specs, **inner), find_target("tflite-int8"), "net.tflite")


def test_a_float_tensor_that_no_operator_touches_is_refused_too():
    with pytest.raises(ExportError, match="must hold integers only"):
        audit(
            changed(integer_only=False, tensor_types={"float32": 1}),
            find_target("tflite-int8"),
            "net.tflite",
        )


@pytest.mark.parametrize("name", ["FlexTan", "Erfc"])
def test_a_foreign_operator_is_found_by_its_name_in_the_file(foreign_files, name):
    model = parse_model(foreign_files[name].read_bytes(), "net")
    assert custom_op_names(model) == [name]
    assert name in op_names(model)[0]


@pytest.mark.parametrize("name", ["FlexTan", "Erfc"])
def test_the_audit_of_a_real_file_with_a_foreign_operator_refuses_it(foreign_files, name):
    found = inspect(foreign_files[name])
    assert (found.custom_ops, found.partitions) == ((name,), None)
    assert found.inputs[0].shape == (1, 4, 4, 3)
    assert found.outputs[0].shape == (1, 3)
    assert (found.inputs[0].dtype, found.outputs[0].dtype) == ("float32", "float32")
    with pytest.raises(ExportError, match=rf"net: {name} is no builtin operator"):
        audit(found, find_target("tflite-float32"), "net")


def test_an_onnx_file_with_an_operator_of_another_domain_is_refused_by_the_audit(tmp_path):
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    entry = make.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["batch", 4])
    result = make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 4])
    node = make.make_node("Sharpen", ["images"], ["logits"], domain="my.company")
    graph = make.make_graph([node], "net", [entry], [result])
    imports = [make.make_opsetid("", 17), make.make_opsetid("my.company", 1)]
    onnx.save(make.make_model(graph, opset_imports=imports), tmp_path / "net.onnx")
    found = inspect(tmp_path / "net.onnx")
    assert found.custom_ops == ("my.company.Sharpen",)
    assert [(spec.name, spec.shape, spec.dtype) for spec in (*found.inputs, *found.outputs)] == [
        ("images", (None, 4), "float32"),
        ("logits", (None, 4), "float32"),
    ]
    with pytest.raises(ExportError, match=r"net: my\.company\.Sharpen is no builtin operator"):
        audit(found, find_target("onnx-float32"), "net")
