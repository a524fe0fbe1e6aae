"""Interleaved rounds: fair, repeatable, and undisturbed by a worker that dies."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgevit.base.errors import ConfigError, ModelFileError, UnknownNameError
from edgevit.bench.benchmark import inferences_in, run_benchmark
from edgevit.bench.cases import plan_cases, plan_reference
from edgevit.bench.process import WorkerProcess
from edgevit.core.measurements import BenchmarkCase
from edgevit.formats.registry import load_session
from edgevit.formats.session import draw_input


class Drawn:
    """A worker whose times are drawn: lognormal around a known middle, on a machine that drifts."""

    machine = 1.0

    def __init__(self, middle_ns: float, turns: list[str], name: str):
        self.rng = np.random.default_rng(int(middle_ns))
        self.middle_ns, self.turns, self.name = middle_ns, turns, name

    def ask(self, do, **arguments):
        if do == "open":
            return {"batch": 1, "import_ns": 1, "load_ns": 2, "first_ns": 3, "idle_bytes": 4}
        if do == "warm":
            return {"calls": 9, "stable": True, "call_ns": 2_000_000}
        if do == "memory":
            return {"peak_bytes": 50}
        self.turns.append(self.name)
        Drawn.machine *= 1.01
        times = self.middle_ns * Drawn.machine * self.rng.lognormal(0, 0.05, arguments["count"])
        return {"latency_ns": [int(ns) for ns in times]}

    def close(self):
        pass


@pytest.fixture
def drawn(tmp_path):
    """A benchmark of three files of known times: (result, the order of turns)."""

    def run(rounds: int = 24, seed: int = 0):
        middles = {"a": 1e6, "b": 2e6, "c": 0.5e6}
        for name in middles:
            (tmp_path / f"{name}.onnx").write_bytes(name.encode())
        cases = [BenchmarkCase(str(tmp_path / f"{name}.onnx"), "onnxruntime") for name in middles]
        turns: list[str] = []

        def open_worker(case):
            name = case.file[-6]
            return Drawn(middles[name], turns, name)

        Drawn.machine = 1.0
        return run_benchmark(cases, rounds, 0, seed, open_worker=open_worker), turns

    return run


def test_known_ratios_are_found_on_a_machine_that_drifts(drawn):
    result, _ = drawn()
    for row, ratio in zip(result.rows, (1.0, 2.0, 0.5), strict=True):
        found = result.ratio(row)
        assert found.low <= ratio * 1.001
        assert found.high >= ratio * 0.999
        assert found.middle == pytest.approx(ratio, rel=0.03)
        assert row.peak_bytes == 50


def test_every_round_has_every_file_once_in_an_order_that_can_be_repeated(drawn):
    result, turns = drawn()
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert len(rounds) == 24
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({"".join(one) for one in rounds}) == 6
    assert drawn()[1] == turns != drawn(seed=1)[1]
    assert len(result.yardstick_ns) == 24
    assert all(len(row.latency_ns) == 24 for row in result.rows)


@pytest.mark.parametrize(
    ("misdeed", "where", "says"),
    [
        ("kill", "run", "killed by SIGKILL"),
        ("hang", "run", "did not answer within"),
        ("exit", "open", "exit code 7"),
        ("hang", "warm", "did not answer within"),
        ("kill", "memory", "killed by SIGKILL"),
    ],
)
def test_one_worker_goes_wrong_and_the_rest_goes_on(products, misbehaving, misdeed, where, says):
    cases = plan_cases([products["tflite"], products["onnx"]])

    def open_worker(case):
        wrong = case.runtime == "litert"
        command = misbehaving(misdeed if wrong else "", where)
        return WorkerProcess(limit_s=0.5 if wrong else 60, command=command)

    result = run_benchmark(cases, rounds=4, reference=1, open_worker=open_worker)
    wrong, right = result.rows
    assert says in wrong.failure
    assert result.failed
    assert right.failure == ""
    assert right.latency_ns == ((1000,),) * 4
    assert wrong.measured == (where == "memory")


def test_a_worker_killed_from_outside_in_the_midst_keeps_what_it_measured(products):
    cases = plan_cases([products["tflite"], products["onnx"]])
    workers = []

    def open_worker(case):
        workers.append(WorkerProcess())
        return workers[-1]

    def watch(what, done, total, rows):
        if what == "measuring" and done == 3:
            workers[0]._process.kill()

    result = run_benchmark(cases, 6, 1, watch=watch, open_worker=open_worker)
    wrong, right = result.rows
    assert "SIGKILL" in wrong.failure
    assert len(wrong.latency_ns) == 3
    assert len(right.latency_ns) == 6
    assert result.ratio(wrong) is not None


def test_all_workers_dead_ends_the_rounds(products, misbehaving):
    cases = plan_cases([products["tflite"]])
    result = run_benchmark(
        cases, 500, open_worker=lambda case: WorkerProcess(command=misbehaving("exit", "run"))
    )
    assert result.failed
    assert len(result.yardstick_ns) == 1


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_median_agrees_with_a_loop_written_here(products, name):
    """The loop takes its turn between the benchmark's, so both see the same machine.

    A call takes some microseconds, of which another process' memory layout and the cores' other
    work can move a third. A unit, a copy or a second call that is counted is more, and every time.
    """
    path = products[name]
    (case,) = plan_cases([path])
    ratios = []
    with load_session(path) as session:
        call = session.bind(draw_input(session, None))

        def take_a_turn(what, done, total, rows):
            if what != "measuring":
                return
            call()
            samples = []
            for _ in range(100):
                started = time.perf_counter_ns()
                call()
                samples.append(time.perf_counter_ns() - started)
            mine.append(float(np.median(samples)))

        for _ in range(3):
            mine: list[float] = []
            row = run_benchmark([case], rounds=40, watch=take_a_turn).rows[0]
            theirs = [float(np.median(samples)) for samples in row.latency_ns]
            ratios.append(float(np.median(theirs) / np.median(mine)))
            if 1 / 1.35 <= ratios[-1] <= 1.35:
                assert row.median_ms.middle * 1e6 == pytest.approx(np.median(theirs), rel=0.1)
                return
    raise AssertionError(ratios)


def test_a_turn_is_filled_with_inferences_within_reason():
    assert inferences_in(0.04, 1_000_000) == 40
    assert inferences_in(0.04, 10) == 100
    assert inferences_in(0.04, 10**12) == 1
    assert inferences_in(0.04, 0) == 100


def test_a_free_batch_is_measured_at_every_size_that_is_asked_for(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.zeros((5, 7), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "free",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 7))],
        [weights],
    )
    path = tmp_path / "free.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    result = run_benchmark(plan_cases([path], batches=(1, 4)), rounds=2)
    assert [row.batch for row in result.rows] == [1, 4]
    assert not result.failed
    for row in result.rows:
        assert row.images_per_second == pytest.approx(row.batch * 1e3 / row.median_ms.middle)


@pytest.mark.parametrize("rounds", [0, -1])
def test_no_round_is_refused(products, rounds):
    with pytest.raises(ConfigError, match="at least one round"):
        run_benchmark(plan_cases([products["tflite"]]), rounds)


def test_no_case_is_refused():
    with pytest.raises(ConfigError):
        run_benchmark([])


# Cases


def test_files_runtimes_threads_and_batches_are_multiplied(products):
    found = plan_cases([products["tflite"], products["onnx"]], threads=(1, 2), batches=(1, 4))
    assert [(c.runtime, c.threads, c.batch) for c in found] == [
        (runtime, threads, batch)
        for runtime in ("litert", "onnxruntime")
        for threads in (1, 2)
        for batch in (1, 4)
    ]
    both = plan_cases([products["tflite"]], ["litert-reference", "litert", "onnxruntime"])
    assert [case.runtime for case in both] == ["litert-reference", "litert"]


def test_a_case_that_makes_no_sense_is_refused(products, tmp_path):
    with pytest.raises(ConfigError, match="onnxruntime does not read tflite"):
        plan_cases([products["tflite"]], ["onnxruntime"])
    with pytest.raises(UnknownNameError, match="Did you mean litert"):
        plan_cases([products["tflite"]], ["litret"])
    with pytest.raises(ConfigError, match="--threads"):
        plan_cases([products["tflite"]], threads=(0,))
    with pytest.raises(ConfigError, match="no runtime here runs tflite files on a GPU"):
        plan_cases([products["tflite"]], device="gpu")
    with pytest.raises(ConfigError, match="no file"):
        plan_cases([])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelFileError, match="neither"):
        plan_cases([tmp_path / "notes.txt"])


def test_on_a_gpu_the_runtimes_of_a_gpu_are_chosen(products):
    (case,) = plan_cases([products["onnx"]], device="gpu")
    assert (case.runtime, case.device) == ("onnxruntime-cuda", "gpu")


def test_a_reference_is_measured_along_unless_it_is_there_already(products):
    cases = plan_cases([products["onnx"]], threads=(2,))
    more, index = plan_reference(cases, products["tflite"])
    assert (more[index].runtime, more[index].threads, len(more)) == ("litert", 2, 2)
    same, index = plan_reference(more, products["onnx"])
    assert (same, index) == (more, 1)


def test_a_gpu_that_is_not_there_is_a_clear_line(products):
    result = run_benchmark(plan_cases([products["onnx"]], device="gpu"), rounds=1)
    (row,) = result.rows
    if not row.failure:
        pytest.skip("this machine has a GPU that onnxruntime uses")
    assert "CUDAExecutionProvider" in row.failure
    assert not row.measured
