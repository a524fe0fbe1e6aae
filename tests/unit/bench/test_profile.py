"""A profile summed over operators and layers."""

from __future__ import annotations

import pytest

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.bench.chart import draw_profile
from edgevit.bench.profile import GROUPS, group_rows, matrix_share, profile, typical_us
from edgevit.core.parity import NodeTime, Profile
from edgevit.formats.onnx.runtime.profiler import read_nodes


def node(name: str, op: str, layer: str, *times: int) -> NodeTime:
    return NodeTime(name, op, f"{op} kernel", layer, times)


FOUND = Profile(
    file="net.onnx",
    sha256="00",
    runtime="onnxruntime-cpu",
    threads=1,
    nodes=(
        node("n1", "MatMul", "net/a/dense", 60, 60),
        node("n2", "Add", "net/a/dense", 10, 10),
        node("n3", "Conv", "net/b/conv", 20, 20),
        node("n4", "Transpose", "", 10, 10),
    ),
    profiled_us=(120.0, 120.0),
    plain_us=(100.0, 100.0),
    environment={},
)


def test_rows_are_summed_sorted_and_cumulated():
    rows = group_rows(FOUND, "layer")
    assert [(row.name, row.time_us, row.count) for row in rows] == [
        ("net/a/dense", 70.0, 2),
        ("net/b/conv", 20.0, 1),
        ("(no layer)", 10.0, 1),
    ]
    assert [row.share for row in rows] == pytest.approx([0.7, 0.2, 0.1])
    assert [row.cumulated for row in rows] == pytest.approx([0.7, 0.9, 1.0])
    assert rows[0].ops == ("MatMul", "Add")


@pytest.mark.parametrize("by", GROUPS)
def test_every_grouping_holds_all_of_the_time(by):
    assert sum(row.time_us for row in group_rows(FOUND, by)) == pytest.approx(100)
    assert group_rows(FOUND, by)[-1].cumulated == pytest.approx(1)


def test_a_depth_folds_layers_into_their_blocks():
    rows = group_rows(FOUND, "layer", depth=2)
    assert [row.name for row in rows] == ["net/a", "net/b", "(no layer)"]
    assert [row.name for row in group_rows(FOUND, "layer", depth=1)] == ["net", "(no layer)"]


def test_matrix_products_and_convolutions_make_the_matrix_share():
    assert matrix_share(FOUND) == pytest.approx(0.8)


def test_disturbed_runs_do_not_count_and_half_microseconds_do():
    assert typical_us((1, 2) * 4 + (1, 1000)) == pytest.approx(1.5, abs=0.13)
    assert typical_us((7,)) == 7


def test_only_the_recorded_runs_of_a_node_are_kept():
    events = [{"cat": "Session", "name": "model_run", "dur": 9, "args": {}}]
    for time_us in (500, 5, 7):  # the first is a warm-up
        events.append(
            {
                "cat": "Node",
                "name": "net/a/Gemm_kernel_time",
                "dur": time_us,
                "args": {"op_name": "Gemm"},
            }
        )
        events.append({"cat": "Node", "name": "net/a/Gemm_fence_before", "dur": 1, "args": {}})
    (found,) = read_nodes(events, {}, 2)
    assert (found.node, found.op, found.layer, found.time_us) == (
        "net/a/Gemm",
        "Gemm",
        "net/a",
        (5, 7),
    )


def test_a_chart_holds_every_bar_and_its_share(tmp_path):
    rows = group_rows(FOUND, "layer")
    draw_profile(rows[:1], rows[1:], "net.onnx by layer", tmp_path / "bars.svg")
    draw_profile(rows, [], "net.onnx by layer", tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "bars.svg").read_text()
    assert not list(tmp_path.glob(".*"))


def test_a_chart_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.svg"):
        draw_profile(group_rows(FOUND, "layer"), [], "net.onnx by layer", tmp_path / "bars.docx")


def test_what_cannot_be_profiled_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        profile(tmp_path / "none.tflite")
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"Profile the \.tflite"):
        profile(folder)
