"""Sweeps run what is not known, whatever becomes of their processes and of themselves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevit.sweeps.process import list_children
from edgevit.sweeps.store import Store
from helpers.sweeps import TARGETS, FakeSweep


def test_a_second_run_does_nothing_and_a_changed_model_its_cells_alone(tmp_path, monkeypatch):
    sweep = FakeSweep(tmp_path, ("one", "two"))
    assert sweep.run_here(monkeypatch).ran == 6
    assert sweep.run_here(monkeypatch).ran == 0
    text = sweep.plan.read_text().replace('name = "two"', 'name = "two"\noptions = {opset = 17}')
    sweep.plan.write_text(text)
    assert sweep.run_here(monkeypatch).ran == 1  # the option is one of ONNX alone
    assert sweep.count("done")["two/onnx-float32"] == 2
    (tmp_path / "two.bin").write_text("weights")
    sweep.plan.write_text(text + 'depends = ["two.bin"]\n')
    assert sweep.run_here(monkeypatch).ran == 3
    some = sweep.run_here(monkeypatch, against=sweep.out, only=["one"])
    assert (len(some.cells), some.ran, some.changes) == (3, 0, ())
    assert sweep.run_here(monkeypatch, against=sweep.out).changes == ()  # all are still there
    assert sweep.litter() == []


@pytest.mark.long
def test_a_cell_whose_process_dies_is_a_row_and_the_others_are_right(tmp_path):
    kinds = ("good", "segfault", "leave", "hang", "eat", "missing")
    sweep = FakeSweep(tmp_path, kinds, 'seconds = 4\nmemory = "600 MB"')
    found = sweep.run(jobs=2)
    assert {name: text for name, text in found.items() if name.endswith("savedmodel")} == {
        f"{kind}/savedmodel": "missing: needs the package 'x'" if kind == "missing" else "pass: "
        for kind in kinds
    }
    told = {
        "good": "pass: ",
        "segfault": "crashed: died of SIGSEGV while pretending",
        "leave": "crashed: ended with exit code 7 while pretending",
        "hang": "timed out: did not end within 4 s (while pretending), and was ended",
        "missing": "missing: needs the package 'x'",
    }
    for kind, text in told.items():
        assert [found[f"{kind}/{target}"] for target in TARGETS[1:]] == [text, text]
    assert found["eat/onnx-float32"].startswith("out of memory: took 0.")
    assert "where the plan allows 0.60 GB" in found["eat/onnx-float32"]
    assert sweep.run()["ran"] == "0"  # a row is a result
    sweep.plan.write_text(sweep.plan.read_text().replace("seconds = 4", "seconds = 5"))
    assert sweep.run()["ran"] == "2"  # of what hung, since more is allowed
    assert sweep.litter() == []


@pytest.mark.long
def test_a_process_that_others_kill_is_tried_again_alone(tmp_path):
    sweep = FakeSweep(tmp_path, ("one",))
    process = sweep.start(1, 1.0)
    while not sweep.count("started"):
        time.sleep(0.05)
    os.kill(int(sweep.log.read_text().split()[2]), signal.SIGKILL)
    process.communicate(timeout=60)
    assert sweep.count("started") == {f"one/{t}": 2 if t == TARGETS[0] else 1 for t in TARGETS}
    assert set(sweep.count("done").values()) == {1}


@pytest.mark.long
def test_two_runs_at_once_share_the_work(tmp_path):
    sweep = FakeSweep(tmp_path, ("one", "two", "three"))
    both = [sweep.start(1, 0.3) for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in both]
    ran = [int(text.split()[-1]) for text in said]
    assert sum(ran) == 9
    assert min(ran) > 0
    assert set(sweep.count("started").values()) == {1}
    assert all(text.count("pass") == 9 for text in said)
    assert sweep.litter() == []


def check_resumed(sweep: FakeSweep, before: dict[str, int], started: int) -> None:
    """What was published stayed as it was, and was not done again."""
    after = sweep.published()
    assert {name: after[name] for name in before} == before
    again = sweep.log.read_text().splitlines()[started:]
    assert not before.keys() & {line.split()[1] for line in again}


@pytest.mark.long
@pytest.mark.parametrize("whom", ["parent", "worker"])
def test_kills_at_ten_random_moments_lose_and_repeat_nothing(tmp_path, whom):
    sweep = FakeSweep(tmp_path, ("a", "b", "c", "d", "e", "f", "g", "h"))
    rng = random.Random(31)
    for _ in range(10):
        lines = len(sweep.log.read_text().splitlines())
        before = sweep.published()
        process = sweep.start(2, 0.25)
        time.sleep(rng.uniform(0.5, 2.0))
        if whom == "parent":
            process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
        else:
            for worker in list_children(process.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
        process.communicate(timeout=60)
        check_resumed(sweep, before, lines)
    found = sweep.run()
    assert [text for name, text in found.items() if name != "ran"] == ["pass: "] * 24
    assert len(sweep.published()) == 24
    for place in sweep.out.glob("cells/*/*"):
        assert (place / "file.bin").read_text() == f"{place.parent.name} {place.name}"
    assert sweep.litter() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_the_run_that_started_them(tmp_path, number):
    sweep = FakeSweep(tmp_path, ("hang",))
    process = sweep.start(1)
    while "hang/tflite-float32" not in sweep.count("started"):
        time.sleep(0.05)
    worker = int(sweep.log.read_text().split()[-1])
    process.send_signal(number)
    process.communicate(timeout=20)
    ends = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_a_lock_dies_with_its_owner_and_holds_against_others(tmp_path):
    store = Store(tmp_path)
    program = (
        "import sys, time, pathlib; from edgevit.sweeps.store import Store;"
        "store = Store(pathlib.Path(sys.argv[1])); store.take('m', 't');"
        "store.stage('m', 't'); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert store.take("m", "t") is None
        other.kill()
        other.wait()
        held = store.take("m", "t")
    assert held is not None
    assert [path.name for path in (tmp_path / "cells/m").iterdir()] == [".t.lock"]
    store.release("m", "t", held)
    assert [*(tmp_path / "cells/m").iterdir()] == []
