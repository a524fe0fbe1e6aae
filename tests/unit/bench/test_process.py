"""A worker from the outside: what it answers, and every way in which it can go wrong."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest

from edgevit.base.errors import RuntimeFailure
from edgevit.bench.process import WorkerProcess
from edgevit.bench.worker import peak_memory
from programs import command_of


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def open_file(worker: WorkerProcess, path, runtime: str, batch=None):
    return worker.ask("open", file=str(path), runtime=runtime, threads=1, batch=batch)


@pytest.mark.parametrize(("name", "runtime"), [("tflite", "litert"), ("onnx-int8", "onnxruntime")])
def test_a_worker_loads_warms_times_and_ends(products, name, runtime):
    with WorkerProcess() as worker:
        opened = open_file(worker, products[name], runtime)
        assert opened["batch"] == 8
        assert all(opened[key] > 0 for key in ("import_ns", "load_ns", "first_ns"))
        warmth = worker.ask("warm", limit_s=0.3)
        assert warmth["calls"] >= 3
        samples = worker.ask("run", count=7)["latency_ns"]
        assert len(samples) == 7
        assert min(samples) > 0
        assert worker.ask("memory")["peak_bytes"] >= opened["idle_bytes"] > 1e6
        pid = worker.pid
    assert not is_running(pid)


def test_what_a_runtime_refuses_is_told_and_the_worker_lives_on(products, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with WorkerProcess() as worker:
        with pytest.raises(RuntimeFailure, match="LiteRT cannot load it"):
            open_file(worker, broken, "litert")
        with pytest.raises(RuntimeFailure, match="no file is open"):
            worker.ask("run", count=1)
        with pytest.raises(RuntimeFailure, match="fixed to 8"):
            open_file(worker, products["tflite"], "litert", batch=4)
        assert open_file(worker, products["tflite"], "litert")["batch"] == 8


def test_a_runtime_that_is_not_installed_is_named_with_what_brings_it(products, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "start.py").write_text(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from edgevit.bench.worker import main; main()\n"
    )
    with (
        WorkerProcess(command=[sys.executable, str(tmp_path / "start.py")]) as worker,
        pytest.raises(RuntimeFailure, match=r"not installed.*edgevit\[onnx\]"),
    ):
        open_file(worker, products["onnx"], "onnxruntime")


@pytest.mark.parametrize(
    ("misdeed", "says"),
    [
        ("kill", "killed by SIGKILL"),
        ("exit", r"died \(exit code 7\).*the last words"),
        ("babble", "nonsense"),
        ("hang", "did not answer within 0.5 s"),
    ],
)
def test_a_worker_that_goes_wrong_becomes_one_line_and_is_gone(misbehaving, misdeed, says):
    with WorkerProcess(command=misbehaving(misdeed, "warm"), limit_s=0.5) as worker:
        pid = worker.pid
        started = time.monotonic()
        with pytest.raises(RuntimeFailure, match=says) as caught:
            worker.ask("warm")
        assert "\n" not in str(caught.value)
        assert time.monotonic() - started < 20
        assert not is_running(pid)
        with pytest.raises(RuntimeFailure):  # and asking again does not hang
            worker.ask("warm")


def test_a_worker_ends_when_the_process_that_started_it_is_killed(products):
    parent = subprocess.Popen(command_of("own_worker"), stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    ends = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < ends:
        time.sleep(0.05)
        reap(pid)
    assert not is_running(pid)


def reap(pid: int) -> None:
    """Where this process is the one that orphans fall to."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_peak_memory_is_the_worker_s_own_and_grows_with_what_it_holds():
    before = peak_memory()
    held = bytearray(os.urandom(1)) * (before + (64 << 20))
    assert peak_memory() >= before + (60 << 20)
    assert len(held) > 0
    with WorkerProcess() as worker:  # and is not inherited
        assert worker.ask("memory")["peak_bytes"] < peak_memory()


def test_no_gpu_is_visible_to_a_worker_of_the_cpu(monkeypatch):
    tell = command_of("tell_gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with WorkerProcess("cpu", command=tell) as worker:
        assert worker.receive()["seen"] == "-1"
    with WorkerProcess("gpu", command=tell) as worker:
        assert worker.receive()["seen"] == "None"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with WorkerProcess("gpu", command=tell) as worker:
        assert worker.receive()["seen"] == "3"
