"""A benchmark's document keeps raw samples, and everything else is derived from them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import BenchmarkCase, Environment, Measurement, refuse_other_machine

HERE = Environment(
    cpu="a CPU",
    instruction_sets=("avx2",),
    cores=2,
    memory_bytes=1 << 30,
    system="Linux",
    machine="x86_64",
    governor=None,
    host="00",
    device="",
    versions={"python": "3.11"},
)


def measured(*rounds: tuple[int, ...], **fields) -> Measurement:
    case = BenchmarkCase("net.onnx", "onnxruntime")
    return replace(Measurement(case, "ab", 10, batch=4, stable=True, latency_ns=rounds), **fields)


def result(*rows: Measurement, **fields) -> BenchmarkResult:
    made = BenchmarkResult(HERE, rows, 0, (100,) * 9, seed=0)
    return replace(made, **fields)


STEADY = measured(*[(1_000_000, 1_000_000, 4_000_000)] * 8)


def test_a_document_comes_back_as_it_was():
    row = measured((1, 2), (3, 4), failure="died", load_ns=7)
    before = result(row, STEADY, reference=None)
    assert BenchmarkResult.from_text(before.to_text(), "r.json") == before


def test_a_document_holds_raw_samples_and_nothing_derived():
    document = json.loads(result(STEADY).to_text())
    assert document["rows"][0]["latency_ns"][0] == [1_000_000, 1_000_000, 4_000_000]
    assert not {"median_ms", "ratio", "warnings", "spread"} & {*document, *document["rows"][0]}
    assert document["version"] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged"),
        ("[]", "no result of a benchmark"),
        ('{"kind": "other"}', "no result of a benchmark"),
        ('{"kind": "edgevit.benchmark"}', "damaged"),
        ('{"kind": "edgevit.benchmark", "version": 99}', "newer edgevit"),
    ],
)
def test_what_is_no_result_is_refused(text, says):
    with pytest.raises(ModelFileError, match=says):
        BenchmarkResult.from_text(text, "r.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows",), 3),
        (("rows", 0, "latency_ns"), [["fast"]]),
        (("rows", 0, "case"), None),
        (("environment", "cores"), "two"),
        (("reference",), 5),
    ],
    ids=str,
)
def test_a_damaged_field_is_named_and_refused(path, value):
    document = json.loads(result(STEADY).to_text())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ModelFileError, match=r"r\.json"):
        BenchmarkResult.from_text(json.dumps(document), "r.json")


def test_figures_are_those_of_the_samples():
    assert STEADY.median_ms.middle == 1.0
    assert STEADY.p95_ms == pytest.approx(np.percentile([1.0, 1.0, 4.0] * 8, 95))
    assert STEADY.mad_ms == 0.0
    assert STEADY.images_per_second == pytest.approx(4000)
    assert replace(STEADY, load_ns=3_000_000, first_ns=2_000_000).cold_start_ms == 5.0


def test_a_ratio_is_paired_by_rounds_and_missing_where_a_side_is():
    base = measured(*[(speed,) for speed in (10, 20, 30, 40, 50)])
    slow = measured(*[(2 * speed,) for speed in (10, 20, 30)], failure="died in round 4")
    found = result(base, slow)
    assert found.ratio(slow).middle == pytest.approx(2.0)
    assert found.ratio(slow).half_width < 1e-9
    assert found.ratio(measured()) is None
    assert result(measured(), slow).ratio(slow) is None
    assert result(base, slow, reference=None).ratio(slow) is None


def test_a_quiet_machine_gives_no_warning():
    assert result(STEADY).warnings == ()


def test_a_machine_that_jumps_about_or_drifts_is_named():
    jumping = result(STEADY, yardstick_ns=(100, 130, 100, 131, 99, 130, 101, 132, 100))
    assert "too noisy" in jumping.warnings[0]
    drifting = result(STEADY, yardstick_ns=(100, 100, 100, 103, 104, 105, 108, 108, 108))
    assert any("speed changed" in line for line in drifting.warnings)
    steady = result(STEADY, yardstick_ns=(100, 101, 100, 99, 100, 101, 100, 99, 100))
    assert steady.warnings == ()


@pytest.mark.parametrize(
    "row",
    [replace(STEADY, stable=False), measured(*[(n * 100_000,) for n in range(1, 12)])],
    ids=["unstable warm-up", "wide interval"],
)
def test_a_row_that_did_not_settle_is_marked(row):
    assert not row.settled
    assert "1 of 1 rows" in result(row).warnings[0]
    assert STEADY.settled


def test_a_run_fails_with_any_row_and_with_no_row():
    assert not result(STEADY).failed
    assert result(STEADY, replace(STEADY, failure="died")).failed
    assert result().failed


@pytest.mark.parametrize(
    "change", [{"host": "11"}, {"cpu": "other"}, {"cores": 4}, {"device": "gpu"}], ids=str
)
def test_times_of_another_machine_are_refused(change):
    with pytest.raises(ConfigError, match="another machine"):
        refuse_other_machine(HERE, replace(HERE, **change), "old.json")


def test_another_version_of_a_tool_is_the_same_machine():
    refuse_other_machine(HERE, replace(HERE, versions={"python": "3.12"}), "old.json")
