"""``edgevit profile`` over real files in their real runtimes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.base.errors import ConfigError, RuntimeFailure
from edgevit.bench.profile import group_rows, matrix_share, profile
from edgevit.formats.tflite.runtime.nodes import read_nodes
from edgevit.formats.tflite.runtime.profiler import record_litert

FILES = [
    ("tflite-float32", None),
    ("tflite-dynamic", None),
    ("tflite-int8", None),
    ("tflite-int8", "builtin"),
    ("onnx-float32", None),
]
WEIGHTED = {
    "shiftvit/classifier",
    "shiftvit/patch_projection",
    "shiftvit/stage1_block1/expand",
    "shiftvit/stage1_block1/project",
    "shiftvit/stage1_merge/reduction",
    "shiftvit/stage2_block1/expand",
    "shiftvit/stage2_block1/project",
}


@pytest.fixture(scope="module")
def profiles(exported) -> dict:
    return {
        (name, kernels): profile(exported[name], kernels, runs=3, warmup=1)
        for name, kernels in FILES
    }


@pytest.mark.parametrize("case", FILES, ids=str)
def test_the_operators_of_a_run_take_no_longer_than_the_run(profiles, case):
    found = profiles[case]
    times = np.array([node.time_us for node in found.nodes])  # nodes runs
    assert times.shape == (len(found.nodes), 3)
    assert (times.sum(axis=0) <= np.array(found.profiled_us)).all()
    assert len(found.plain_us) == 3
    assert found.environment["cpu"]


@pytest.mark.parametrize("case", FILES, ids=str)
def test_every_layer_with_weights_is_found_by_its_keras_name(profiles, case):
    layers = {node.layer for node in profiles[case].nodes}
    assert layers >= WEIGHTED
    assert all(not layer or layer.startswith(("shiftvit", "preprocessing")) for layer in layers)
    unnamed = [node for node in profiles[case].nodes if not node.layer]
    assert len(unnamed) <= 2  # QUANTIZE at the border


@pytest.mark.parametrize("case", FILES, ids=str)
def test_products_are_found(profiles, case):
    # As if each took a microsecond: a fast machine's profiler gives some of them none.
    even = [replace(node, time_us=np.ones_like(node.time_us)) for node in profiles[case].nodes]
    assert 0 < matrix_share(replace(profiles[case], nodes=tuple(even))) < 1


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-dynamic", "tflite-int8"])
def test_each_product_of_the_file_gets_one_kernel_of_xnnpack(profiles, exported, name):
    wanted = [
        node.name
        for node in read_nodes(exported[name])
        if node.op in ("FULLY_CONNECTED", "CONV_2D")
    ]
    found = [
        node.node
        for node in profiles[name, None].nodes
        if node.kernel.startswith(("Fully Connected", "Convolution"))
    ]
    assert found == wanted


def test_without_the_delegate_each_operator_is_one_kernel(profiles, exported):
    nodes = read_nodes(exported["tflite-int8"])
    found = profiles["tflite-int8", "builtin"].nodes
    assert [(node.node, node.op, node.kernel) for node in found] == [
        (node.name, node.op, node.op) for node in nodes
    ]


def test_rows_of_a_real_profile_add_up(profiles):
    rows = group_rows(profiles["tflite-int8", None], "layer", depth=2)
    assert rows[-1].cumulated == pytest.approx(1)
    assert "shiftvit/stage1_block1" in [row.name for row in rows]


def test_a_kernel_set_of_another_runtime_is_refused(exported):
    with pytest.raises(ConfigError, match="Received: 'xnnpack'"):
        profile(exported["onnx-float32"], "xnnpack")


def test_a_kernel_set_goes_by_its_full_name_too(exported):
    names = ("litert-builtin", "builtin", "litert", "litert-xnnpack")
    found = [profile(exported["tflite-int8"], name, runs=1, warmup=0).runtime for name in names]
    assert found == ["litert-builtin", "litert-builtin", "litert-xnnpack", "litert-xnnpack"]
    assert profile(exported["onnx-float32"], "onnxruntime", runs=1).runtime == "onnxruntime-cpu"


def test_what_litert_refuses_is_one_clear_line(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 200)
    with pytest.raises(RuntimeFailure, match="LiteRT cannot profile it"):
        record_litert(broken, runs=1, warmup=0)


def test_the_command_prints_json_and_draws_a_chart(command, exported, tmp_path):
    chart = tmp_path / "charts" / "layers.svg"
    answer = command(
        *("profile", exported["tflite-int8"], "--by", "layer", "--runs", 2, "--json"),
        *("--chart", chart),
    )
    assert answer.code == 0
    document = answer.document
    assert document["runtime"] == "litert-xnnpack"
    assert {row["name"] for row in document["rows"]} >= WEIGHTED
    assert len(document["profile"]["plain_us"]) == 2
    assert "<svg" in chart.read_text()


def test_the_command_prints_a_table(command, exported):
    answer = command("profile", exported["onnx-float32"], "--runs", 2, "--top", 100)
    assert answer.code == 0
    for text in ("MatMul", "100.0 %", "with the profiler on"):
        assert text in answer.out
    assert " more " not in answer.out
    cut = command("profile", exported["onnx-float32"], "--runs", 2, "--top", 3).out
    assert " more " in cut
    assert len(cut.splitlines()) < len(answer.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--runtime", "gpu"), 2, "kernel sets"),
        (("--chart", "bars.docx"), 2, ".svg"),
        (("--runs", "0"), 2, "--runs"),
        (("--by", "colour"), 2, "--by"),
    ],
)
def test_bad_options_are_one_line(command, exported, arguments, code, text):
    answer = command("profile", exported["tflite-int8"], *arguments)
    assert answer.code == code
    assert text in answer.error


def test_a_damaged_file_is_not_run(command, copied):
    path = copied("tflite-int8", manifest=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    answer = command("profile", path)
    assert answer.code == 2
    assert "seal" in answer.error
    assert command("profile", path.parent / "none.onnx").code == 2


def test_a_chart_that_cannot_be_written_stops_before_the_runs(command, exported, tmp_path):
    (tmp_path / "file").write_text("")
    answer = command("profile", exported["tflite-int8"], "--chart", tmp_path / "file" / "bars.png")
    assert answer.code == 1
    assert "cannot be written" in answer.error
