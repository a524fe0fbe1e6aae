"""The gate with real processes: clear where it can be, silent where it cannot, never stuck."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from edgevit.base.errors import ConfigError, ModelFileError, RuntimeFailure
from edgevit.bench.baseline import find_baselines
from edgevit.bench.benchmark import run_benchmark
from edgevit.bench.cases import plan_cases
from edgevit.bench.gate import run_gate
from edgevit.bench.gating import GateRule, GateVerdict, RecordedReport
from edgevit.bench.process import WorkerProcess
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import BenchmarkCase
from programs import command_of


@pytest.fixture
def gated(tmp_path):
    """A function (slowdown, layout=, noise=, rule=) -> report of a gate over drawn times."""

    def run(slowdown: float, layout=0.002, noise=0.01, rule=None, seed=0):
        for name in ("new", "old"):
            (tmp_path / f"{name}.onnx").write_bytes(name.encode())
        new, old = (
            BenchmarkCase(str(tmp_path / f"{name}.onnx"), "onnxruntime") for name in ("new", "old")
        )
        numbers = random.Random(seed)

        def open_worker(case):
            own = str(numbers.random())
            command = command_of("run_in_known_time", 1e6, layout, noise, own)
            return WorkerProcess(command=command)

        return run_gate(new, old, rule, seed, slowdown=slowdown, open_worker=open_worker)

    return run


def test_the_same_file_is_ok_and_a_slower_one_is_slower(gated):
    same, slower = gated(0.0), gated(0.2)
    assert same.verdict is GateVerdict.OK
    assert slower.verdict is GateVerdict.SLOWER
    assert slower.ratio.low < 1.2 < slower.ratio.high
    assert slower.rounds == 8  # clear at the first look
    assert not same.faster


def test_a_faster_file_is_ok_and_said_to_be_faster(gated):
    found = gated(-0.2)
    assert found.verdict is GateVerdict.OK
    assert found.faster


def test_what_stays_in_doubt_is_inconclusive_after_more_processes_and_all_rounds(gated):
    found = gated(0.05, layout=0.3, rule=GateRule(0.05, most_processes=3, most_rounds=24))
    assert found.verdict is GateVerdict.INCONCLUSIVE
    assert found.rounds == 24
    assert found.processes_each == 3
    assert {process.first_round for process in found.processes} == {0, 8}


def test_a_report_keeps_raw_samples_of_every_process(gated):
    found = gated(0.0)
    assert len(found.processes) >= 4
    assert all(len(process.latency_ns[0]) == 5 for process in found.processes)
    assert found.head_sha256 != found.base_sha256


def test_the_gate_runs_real_files(products):
    (case,) = plan_cases([products["tflite"]])
    found = run_gate(case, case, GateRule(5.0, most_rounds=8))
    assert found.batch == 8
    assert found.rounds == 8
    assert found.verdict is GateVerdict.OK  # not six times slower than itself


def test_a_worker_that_fails_leaves_no_verdict_and_names_its_side(products, misbehaving):
    (case,) = plan_cases([products["tflite"]])
    with pytest.raises(RuntimeFailure, match=r"(candidate|baseline) .*killed by SIGKILL"):
        run_gate(
            case, case, open_worker=lambda case: WorkerProcess(command=misbehaving("kill", "run"))
        )


# Baselines


@pytest.fixture
def recorded(products, tmp_path):
    """A result of two files, written beside them; (path, cases)."""
    cases = plan_cases([products["tflite"], products["onnx"]])
    result = run_benchmark(cases, rounds=3)
    path = tmp_path / "baseline.json"
    path.write_text(result.to_text())
    return path, cases


def rewrite(path, change) -> None:
    result = BenchmarkResult.from_text(path.read_text(), "r")
    path.write_text(change(result).to_text())


def test_a_baseline_names_files_that_are_run_again(recorded):
    path, cases = recorded
    found = find_baselines(cases, path)
    assert [pair.baseline.file for pair in found] == [case.file for case in cases]
    assert [pair.recorded.case.runtime for pair in found] == ["litert", "onnxruntime"]


def test_a_file_beside_the_baseline_is_found_by_name_and_digest(recorded, tmp_path, products):
    path, cases = recorded

    def move(result):
        rows = [
            replace(row, case=replace(row.case, file="elsewhere/" + row.case.file.split("/")[-1]))
            for row in result.rows
        ]
        return replace(result, rows=tuple(rows))

    rewrite(path, move)
    assert find_baselines(cases[:1], path)[0].baseline is None
    (tmp_path / "product.tflite").write_bytes(products["onnx"].read_bytes())  # another content
    assert find_baselines(cases[:1], path)[0].baseline is None
    (tmp_path / "product.tflite").write_bytes(products["tflite"].read_bytes())
    assert find_baselines(cases[:1], path)[0].baseline.file == str(tmp_path / "product.tflite")


def test_a_baseline_that_does_not_know_the_file_says_what_it_knows(recorded, products):
    path, _ = recorded
    with pytest.raises(ConfigError, match=r"no samples of product-int8\.onnx.*product\.tflite"):
        find_baselines(plan_cases([products["onnx-int8"]]), path)
    with pytest.raises(ConfigError, match="with 2 threads"):
        find_baselines(plan_cases([products["onnx"]], threads=(2,)), path)


def test_one_old_file_cannot_be_held_against_several(products):
    cases = plan_cases([products["tflite"], products["onnx"]])
    with pytest.raises(ConfigError, match="several"):
        find_baselines(cases, products["tflite"])


def test_a_baseline_that_is_no_result_is_refused(products, tmp_path):
    path = tmp_path / "baseline.json"
    for text in ("{}", "nothing", json.dumps({"kind": "edgevit.gate"})):
        path.write_text(text)
        with pytest.raises(ModelFileError, match=r"baseline\.json"):
            find_baselines(plan_cases([products["tflite"]]), path)
    path.unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        find_baselines(plan_cases([products["tflite"]]), path)


def test_recorded_times_count_only_while_the_machine_keeps_its_speed(recorded):
    result = BenchmarkResult.from_text(recorded[0].read_text(), "r")
    old = replace(result.rows[0], latency_ns=tuple((n, n) for n in (100, 101, 102, 99, 100)))
    new = replace(old, latency_ns=tuple((120, 120) for _ in range(5)))
    steady = (1000,) * 5
    report = RecordedReport(new, old, steady, steady, 0.05)
    assert report.verdict is GateVerdict.SLOWER
    assert report.ratio.middle == pytest.approx(1.2)
    assert replace(report, head=old).verdict is GateVerdict.OK
    assert replace(report, head_yardstick_ns=(1100,) * 5).verdict is GateVerdict.INCONCLUSIVE
    # a machine that is 4 % slower explains 4 % of it
    slower_machine = replace(report, head_yardstick_ns=(1040,) * 5)
    assert slower_machine.ratio.middle == pytest.approx(1.2 / 1.04)
