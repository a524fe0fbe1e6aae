"""Documents of other commands, put to the files that they are about."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from edgevit.base.documents import to_json
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import BenchmarkCase, Environment, Measurement
from edgevit.core.parity import FloatFigures, TaskReport
from edgevit.core.report import FileReport
from edgevit.reports.view import COLUMNS
from edgevit.verbs.evidence import Evidence, list_documents

A, B, BROKEN = "aa" * 32, "bb" * 32, "cc" * 32
PARITY = {
    "runtime": "litert-xnnpack",
    "images": 256,
    "max_abs": 0.1,
    "mean_abs": 0.01,
    "relative": 0.02,
    "top1_agreement": 0.99,
    "others": [],
}
ACCURACY = {"images": 1000, "top1": 84.2, "top5": 99.1, "runtime": "litert-xnnpack", "source": "d"}
VERIFIED = {"file": "exports/a.tflite", "sha256": A, "verdict": "pass", "runs": [PARITY]}


@pytest.fixture
def evidence() -> Evidence:
    files = {
        "a.tflite": FileReport("a.tflite", "tflite", 10, A),
        "b.onnx": FileReport("b.onnx", "onnx", 20, B),
        "broken.tflite": FileReport("broken.tflite", "tflite", 10, BROKEN, damage="bytes"),
    }
    return Evidence(files)


@pytest.fixture
def add(evidence, tmp_path):
    """A function (document, name) -> the evidence after reading it from a file of that name."""

    def put(document: object, name: str = "found.json") -> Evidence:
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else to_json(document))
        evidence.add(path)
        return evidence

    return put


def test_figures_of_a_task_go_to_the_file_of_their_digest_and_into_its_row(add):
    found = TaskReport(
        *("regression", 90, {"r2": 0.934, "other": float("nan")}, {"age": {"mae": 2.0}}),
        *("onnxruntime-cpu", "ages.csv", 1.0, "R2", (0.91, 0.95)),
        FloatFigures({"r2": 0.94}, 0.6, (-0.1, 1.3)),
    )
    entry = add({"model": "b.onnx", "sha256": B, **asdict(found)}).files["b.onnx"]
    assert entry.figures.figures["r2"] == 0.934
    assert entry.figures.float_model.points_lost == 0.6
    (column,) = [column for column in COLUMNS if column.title == "Figure"]
    assert column.text(entry) == "R2 0.934"
    assert column.note(entry) == "0.91 to 0.95, 90 samples"
    assert column.text(FileReport("a.tflite", "tflite", 10, A)) == ""


def test_a_verification_goes_to_the_file_of_its_digest(add):
    found = add({**VERIFIED, "accuracy": ACCURACY, "real_images": PARITY})
    entry = found.files["a.tflite"]
    assert entry.parity[0].max_abs == 0.1
    assert entry.accuracy.top1 == 84.2
    assert entry.agreement.top1_agreement == 0.99
    assert found.files["b.onnx"].parity == ()
    assert found.ignored == []


def test_nothing_is_said_of_a_damaged_file(add):
    found = add({**VERIFIED, "file": "broken.tflite", "sha256": BROKEN})
    assert found.files["broken.tflite"].parity == ()
    found = add({**ACCURACY, "model": "broken.tflite"})
    assert found.files["broken.tflite"].accuracy is None
    assert len(found.ignored) == 2


def test_a_null_in_a_verification_is_a_nan_and_fails(add):
    run = {**PARITY, "max_abs": None}
    (report,) = add({**VERIFIED, "runs": [run]}).files["a.tflite"].parity
    assert report.max_abs != report.max_abs


def test_what_was_measured_with_another_version_is_not_used(add):
    found = add({**VERIFIED, "sha256": "dd" * 32})
    assert found.files["a.tflite"].parity == ()
    assert "another version of a.tflite" in found.ignored[0]


def test_an_accuracy_goes_by_the_models_name_or_by_its_own(add):
    assert add({**ACCURACY, "model": "x/a.tflite"}).files["a.tflite"].accuracy.images == 1000
    assert add(ACCURACY, "b.onnx.accuracy.json").files["b.onnx"].accuracy.top1 == 84.2
    assert add(ACCURACY, "b.accuracy.json").ignored == []
    assert "not here" in add(ACCURACY, "other.json").ignored[0]


def test_float_keras_is_kept_apart(add):
    found = add({**ACCURACY, "runtime": "keras", "model": "shiftvit"})
    assert found.float_accuracy.top1 == 84.2
    assert all(entry.accuracy is None for entry in found.files.values())


def measurement(file: str, sha256: str, rounds: list[list[int]], failure: str = "") -> Measurement:
    return Measurement(
        BenchmarkCase(file, "litert"),
        sha256,
        10,
        batch=1,
        load_ns=5_000_000,
        first_ns=1_000_000,
        peak_bytes=1000,
        stable=True,
        latency_ns=tuple(map(tuple, rounds)),
        failure=failure,
    )


def benchmark(*rows: Measurement) -> dict:
    environment = Environment("A CPU", (), 4, None, "Linux", "x86_64", None, "ab", "", {})
    found = BenchmarkResult(environment, rows, None, (), 0)
    return json.loads(found.to_text())


def test_a_benchmark_goes_row_by_row(add):
    rounds = [[1_000_000, 3_000_000, 2_000_000]] * 9 + [[9_000_000] * 3]
    found = add(
        benchmark(
            measurement("exports/a.tflite", A, rounds),
            measurement("gone.onnx", "dd" * 32, [[1]]),
            measurement("b.onnx", B, [], "it was killed"),
        )
    )
    (row,) = found.files["a.tflite"].latency
    assert row.median_ms == 2  # of the rounds' medians
    assert row.low_ms == row.high_ms == 2
    assert row.cold_ms == 6
    assert row.roofline is None
    assert row.machine.startswith("A CPU, 4 cores")
    assert found.files["b.onnx"].latency == ()
    assert "it was killed" in found.ignored[0]
    assert "another version" in found.ignored[0]


def test_two_rounds_have_no_interval(add):
    found = add(benchmark(measurement("a.tflite", A, [[1_000_000], [2_000_000]])))
    assert found.files["a.tflite"].latency[0].low_ms is None


def test_a_profile_an_arena_and_errors_of_layers(add):
    rows = [{"name": "net/a", "time_us": 5.0}, {"name": "net/b", "time_us": 3.0}]
    add({"file": "a.tflite", "sha256": A, "runs": 2, "rows": rows, "profile": {}})
    add({"file": "a.tflite", "sha256": A, "arena_bytes": 4096})
    layers = [{"layer": "net/a", "relative": 0.1}, {"layer": "net/b", "relative": None}]
    entry = add({"file": "a.tflite", "layers": layers}).files["a.tflite"]
    assert [part.name for part in entry.times] == ["net/a", "net/b"]
    assert entry.arena_bytes == 4096
    assert [(part.name, part.value) for part in entry.errors] == [("net/a", 0.1)]


def test_the_table_of_all_targets_needs_the_digests(add):
    row = {"accuracy": ACCURACY, "test_images": PARITY, "size_bytes": 10}
    keras = {**ACCURACY, "runtime": "keras", "top1": 85.0}
    found = add({"provenance": {"commit": "0" * 40}, "keras": keras, "tflite-int8": row})
    assert found.files["a.tflite"].accuracy is None
    assert found.float_accuracy is None
    assert "which files" in found.ignored[0]
    found = add({"keras": keras, "tflite-int8": {**row, "sha256": A}})
    assert found.files["a.tflite"].accuracy.top1 == 84.2
    assert found.float_accuracy.top1 == 85.0


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '"text"',
        "{}",
        {"verdict": "pass", "runs": [{}], "sha256": A},
        {"verdict": "pass", "runs": 7, "sha256": A},
        {"images": 0, "top1": 1, "top5": 1, "model": "a.tflite"},
        {"images": 5, "top1": 184.2, "top5": 1, "model": "a.tflite"},
        {"images": "many", "top1": 1, "top5": 1, "model": "a.tflite"},
        {"kind": "edgevit.benchmark", "rows": [{"case": {"file": "a.tflite"}}]},
        {"kind": "edgevit.benchmark", "rows": [7], "environment": {}},
        {"kind": "edgevit.benchmark", "rows": [], "environment": None},
        {"layers": [{"layer": "a"}], "file": "a.tflite"},
        {"arena_bytes": "much", "file": "a.tflite"},
        {"rows": [{}], "profile": {}, "file": "a.tflite"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_noted_and_changes_nothing(add, document, evidence):
    before = dict(evidence.files)
    found = add(document)
    assert found.files == before
    assert len(found.ignored) == 1
    assert found.ignored[0].startswith("found.json: ")


def test_a_file_of_bytes_is_noted(evidence, tmp_path):
    path = tmp_path / "bytes.json"
    path.write_bytes(b"\xff\xfe\x00")
    evidence.add(path)
    evidence.add(tmp_path / "gone.json")
    assert len(evidence.ignored) == 2


def test_documents_are_found_one_level_deep_and_no_manifest_is_among_them(tmp_path: Path):
    for name in ("a.json", "sub/b.json", "sub/deep/c.json", "x.tflite.manifest.json"):
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({}))
    single = tmp_path / "sub/deep/c.json"
    assert [path.name for path in list_documents([tmp_path])] == ["a.json", "b.json"]
    assert [path.name for path in list_documents([tmp_path, single])] == [
        "a.json",
        "b.json",
        "c.json",
    ]
