"""``edgevit benchmark``: what it answers, how it exits, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgevit.bench.products import write_product
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.format import Format
from edgevit.core.target import Precision


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> dict[str, Path]:
    """Small files: tflite, onnx (8 x 16 times 16 x 32); and "large", the same file but deeper."""
    folder = tmp_path_factory.mktemp("products")
    found = {}
    for kind in (Format.TFLITE, Format.ONNX):
        found[str(kind)] = folder / f"product.{kind}"
        write_product(found[str(kind)], kind, Precision.FLOAT32, 8, 16, 32)
    found["large"] = folder / "large.tflite"
    write_product(found["large"], Format.TFLITE, Precision.FLOAT32, 64, 256, 512)
    return found


@pytest.fixture
def recorded(command, products, tmp_path) -> Path:
    """A result of both small files."""
    path = tmp_path / "result.json"
    both = (products["tflite"], products["onnx"])
    assert command("benchmark", *both, "--rounds", 3, "--out", path).code == 0
    return path


def rewrite(path: Path, change) -> None:
    path.write_text(change(BenchmarkResult.from_text(path.read_text(), "r")).to_text())


def test_formats_are_mixed_in_one_run_and_the_answer_is_one_document(command, products):
    both = (products["tflite"], products["onnx"])
    answer = command("benchmark", *both, "--rounds", 3, "--threads", "1,2", "--json")
    assert answer.code == 0
    rows = answer.document["rows"]
    assert [(row["runtime"], row["threads"]) for row in rows] == [
        ("litert", 1),
        ("litert", 2),
        ("onnxruntime", 1),
        ("onnxruntime", 2),
    ]
    for row in rows:
        low, high = row["interval_ms"]
        assert 0 < low <= row["median_ms"] <= high
        assert row["median_ms"] <= row["p95_ms"]
        assert row["images_per_second"] == pytest.approx(8e3 / row["median_ms"])
        assert 0 < row["added_bytes"] < row["peak_bytes"]
        assert row["cold_start_ms"] > 0
    assert rows[0]["ratio"] == 1
    assert rows[2]["ratio_interval"][0] < rows[2]["ratio_interval"][1]
    assert answer.document["environment"]["cores"] >= 1


def test_a_result_keeps_the_raw_samples(recorded):
    result = BenchmarkResult.from_text(recorded.read_text(), "r")
    assert [len(row.latency_ns) for row in result.rows] == [3, 3]
    assert all(len(one) >= 1 for row in result.rows for one in row.latency_ns)
    assert result.environment.versions["onnxruntime"]


def test_text_is_a_table_with_every_file(command, products):
    answer = command("benchmark", products["tflite"], products["onnx"], "--rounds", 2)
    assert answer.code == 0
    assert "product.tflite" in answer.out
    assert "onnxruntime" in answer.out
    assert "median ms" in answer.out


def test_a_fixed_batch_is_a_clear_line_and_the_rest_is_measured(command, products):
    answer = command("benchmark", products["tflite"], "--batch", "8,4", "--rounds", 2, "--json")
    assert answer.code == 1
    right, wrong = answer.document["rows"]
    assert right["median_ms"] > 0
    assert wrong["median_ms"] is None
    assert "fixed to 8" in wrong["failure"]
    assert "--batch dynamic" in answer.error


def test_a_file_that_no_runtime_can_read_is_a_clear_line_and_the_rest_is_measured(
    command, products, tmp_path
):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    answer = command("benchmark", broken, products["tflite"], "--rounds", 2, "--json")
    assert answer.code == 1
    assert "onnxruntime cannot load it" in answer.error
    assert answer.document["rows"][1]["median_ms"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rounds", "0"], "rounds"),
        (["--threads", "0"], "no list of numbers"),
        (["--batch", "one"], "no list of numbers"),
        (["--runtime", "litret"], "Did you mean litert"),
        (["--runtime", "onnxruntime"], "does not read tflite"),
        (["--device", "gpu"], "no runtime here runs tflite files on a GPU"),
        (["--against", "none.tflite"], "no such file"),
        (["--against", "none.json"], "cannot be read"),
        (["--baseline", "none.tflite"], "no such file"),
        (["--baseline", "none.json"], "cannot be read"),
        (["--baseline", "none.tflite", "--max-slowdown", "-5%"], "no share above 0"),
        (["--baseline", "none.tflite", "--max-slowdown", "some"], "no share"),
        (["--time-limit", "0"], "time-limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_and_exit_code_2(command, products, arguments, says):
    answer = command("benchmark", products["tflite"], *arguments)
    assert answer.code == 2
    assert says in answer.error
    assert answer.out == ""


def test_no_file_and_a_file_of_another_kind_are_refused(command, tmp_path):
    assert command("benchmark").code == 2
    (tmp_path / "notes.txt").touch()
    answer = command("benchmark", tmp_path / "notes.txt")
    assert (answer.code, answer.out) == (2, "")
    assert "neither" in answer.error


def test_a_gpu_that_is_not_there_is_a_clear_line(command, products):
    answer = command("benchmark", products["onnx"], "--device", "gpu", "--rounds", 1)
    if answer.code == 0:
        pytest.skip("this machine has a GPU that onnxruntime uses")
    assert answer.code == 1
    assert "edgevit[gpu]" in answer.error or "nvidia-smi" in answer.error


def test_against_a_file_measures_it_along(command, products):
    answer = command(
        "benchmark", products["tflite"], "--against", products["onnx"], "--rounds", 2, "--json"
    )
    first, second = answer.document["rows"]
    assert (first["runtime"], first["ratio"]) == ("onnxruntime", 1)
    assert second["ratio"] is not None


def test_against_a_result_of_this_machine_gives_ratios(command, products, recorded):
    answer = command(
        "benchmark", products["tflite"], "--against", recorded, "--rounds", 2, "--json"
    )
    assert answer.code == 0
    assert answer.document["rows"][0]["ratio"] > 0


@pytest.mark.parametrize("option", ["--against", "--baseline"])
def test_times_of_another_machine_are_refused(command, products, recorded, option):
    def elsewhere(result):
        rows = tuple(
            replace(row, case=replace(row.case, file="gone/" + Path(row.case.file).name))
            for row in result.rows
        )
        return replace(result, rows=rows, environment=replace(result.environment, host="other"))

    rewrite(recorded, elsewhere)
    answer = command("benchmark", products["tflite"], option, recorded, "--rounds", 8)
    assert answer.code == 2
    assert "measured on another machine" in answer.error


def test_a_baseline_of_another_machine_is_run_again_where_its_file_is_at_hand(
    command, products, recorded
):
    rewrite(
        recorded, lambda result: replace(result, environment=replace(result.environment, host="x"))
    )
    answer = command(
        *("benchmark", products["tflite"], "--baseline", recorded),
        *("--max-slowdown", "500%", "--rounds", 8, "--json"),
    )
    assert answer.code == 0
    assert answer.document["verdict"] == "ok"
    assert answer.document["rows"][0]["base"] == str(products["tflite"])


def test_a_much_slower_file_is_slower_and_exits_with_1(command, products, tmp_path):
    out = tmp_path / "gate.json"
    answer = command(
        *("benchmark", products["large"], "--baseline", products["tflite"]),
        *("--max-slowdown", "5%", "--json", "--out", out),
    )
    assert answer.code == 1
    assert answer.document["verdict"] == "slower"
    assert answer.document["rows"][0]["ratio"] > 2
    (report,) = json.loads(out.read_text())["reports"]
    assert {process["side"] for process in report["processes"]} == {"head", "base"}


def test_the_gate_answers_people_in_a_table(command, products):
    answer = command("benchmark", products["tflite"], "--baseline", products["large"])
    assert answer.code == 0
    assert {"ok", "(faster)"} <= set(answer.out.split())  # in two lines where the path is long


@pytest.mark.parametrize(("options", "code"), [([], 3), (["--inconclusive-ok"], 0)])
def test_no_clear_verdict_has_an_exit_code_of_its_own(
    command, products, monkeypatch, options, code
):
    from edgevit.base.statistics import Interval
    from edgevit.bench import gating

    monkeypatch.setattr(gating, "ratio_of", lambda processes: Interval(1.0, 0.9, 1.2))
    from edgevit.bench import gate

    monkeypatch.setattr(gate, "ratio_of", gating.ratio_of)
    answer = command(
        "benchmark", products["tflite"], "--baseline", products["tflite"], "--rounds", 8, *options
    )
    assert answer.code == code
    assert "inconclusive" in answer.out


def test_recorded_times_of_this_machine_are_used_where_the_file_is_gone(
    command, products, recorded
):
    def forget(result):
        rows = tuple(
            replace(row, case=replace(row.case, file="gone/" + Path(row.case.file).name))
            for row in result.rows
        )
        return replace(result, rows=rows)

    rewrite(recorded, forget)
    answer = command(
        *("benchmark", products["tflite"], "--baseline", recorded),
        *("--max-slowdown", "900%", "--rounds", 8, "--json"),
    )
    assert answer.code in (0, 3)  # 3 where the machine's own speed changed meanwhile
    assert "recorded times" in answer.document["rows"][0]["how"]


def test_a_refused_file_leaves_no_folder_for_the_result(command, tmp_path):
    out = tmp_path / "new" / "result.json"
    assert command("benchmark", tmp_path / "missing.tflite", "--out", out).code == 2
    assert not out.parent.exists()
