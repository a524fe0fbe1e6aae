"""The audit refuses operators that no edge runtime has, and floats where integers were promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

import tensorflow as tf  # noqa: E402

from edgevit.core.errors import EdgevitError, ExportError  # noqa: E402
from edgevit.core.targets import TARGETS, find_target  # noqa: E402
from edgevit.runtimes.tflite_file import custom_op_names, op_names, parse_model  # noqa: E402
from edgevit.verify.audit import Inspection, audit, inspect  # noqa: E402

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


@pytest.fixture(scope="module")
def flex_file(tmp_path_factory) -> Path:
    """A graph with an operator that LiteRT has only through TensorFlow itself."""

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32, name="images")])
    def forward(images):
        return {"logits": tf.math.erfc(tf.reduce_mean(images, axis=(1, 2)))}

    module = tf.Module()
    module.forward = forward
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [forward.get_concrete_function()], module
    )
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    path = tmp_path_factory.mktemp("flex") / "net.tflite"
    path.write_bytes(bytes(converter.convert()))
    return path


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


def test_a_float_tensor_that_no_operator_touches_is_refused_too():
    with pytest.raises(ExportError):
        audit(changed(integer_only=False), find_target("tflite-int8"), "net.tflite")


def test_a_flex_operator_is_found_by_its_name_in_the_file(flex_file):
    model = parse_model(flex_file.read_bytes(), "net")
    assert custom_op_names(model) == ["FlexErfc"]
    assert "FlexErfc" in op_names(model)[0]


def test_a_real_file_with_a_flex_operator_cannot_be_exported(flex_file):
    """LiteRT refuses to load it; had it loaded, the audit would refuse."""
    code = (
        "import sys; from edgevit.verify.audit import audit, inspect; "
        "from edgevit.core.targets import find_target; from edgevit.core.errors import *\n"
        "try:\n    audit(inspect(sys.argv[1]), find_target('tflite-float32'), 'net')\n"
        "except EdgevitError as error:\n    print(type(error).__name__, error)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(flex_file)], capture_output=True, text=True, timeout=120
    )
    print(found)
    assert found.returncode == 0


def test_zzz(flex_file):
    with pytest.raises(EdgevitError) as caught:
        audit(inspect(flex_file), find_target("tflite-float32"), "net.tflite")
    print(caught.value)
    assert 0
