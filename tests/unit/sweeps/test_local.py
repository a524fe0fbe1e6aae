"""No more jobs at once than memory holds, and one makes room before the system ends any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgevit.sweeps import local
from edgevit.sweeps.jobs import Allowance, Job, Task, claim_all
from edgevit.sweeps.local import LocalPool
from edgevit.sweeps.process import list_children, resident_bytes

GB = 10**9


class Process:
    """Stands for :class:`JobProcess`: it ends when it was looked at a few times."""

    running: list[Process]
    most = 0

    def __init__(self, job: Job, allowance: Allowance):
        self.job, self.rss, self.left, self.began = job, 0, 3, len(job.tasks[0].name)
        self.ended = self.lost = False
        self.done: set[str] = set()
        self.running.append(self)
        Process.most = max(Process.most, len(self.running))

    def look(self) -> list:
        self.left -= 1
        if not self.left:
            self.done = {task.name for task in self.job.tasks}
            self.end()
        return []

    def end(self, lost: bool = False) -> None:
        self.ended, self.lost = True, lost
        if self in self.running:
            self.running.remove(self)


@pytest.fixture
def machine(monkeypatch):
    """A function (bytes that are free) -> None; processes are made up."""
    Process.running, Process.most = [], 0
    monkeypatch.setattr(local, "JobProcess", Process)
    monkeypatch.setattr(LocalPool, "_wait", lambda pool: None)
    return lambda free: monkeypatch.setattr(local, "free_memory", lambda: free)


def jobs(count: int, need_bytes: int, alone: bool = False) -> list[Job]:
    return [
        Job("f", None, (Task("x" * n, None, Path()),), Path(), (), need_bytes, 0.0, alone)
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("need_bytes", "total_bytes", "most"),
    [(GB, None, 8), (4 * GB, None, 2), (40 * GB, None, 1), (GB, 4 * GB, 3), (0, None, 8)],
)
def test_as_many_run_as_memory_holds(machine, need_bytes, total_bytes, most):
    machine(10 * GB)
    pool = LocalPool(Allowance(8, total_bytes=total_bytes))
    assert [*pool.run(jobs(20, need_bytes), claim_all)] == []
    assert Process.most == most


def test_a_job_that_wants_to_be_alone_is(machine):
    machine(100 * GB)
    assert [*LocalPool(Allowance(8)).run(jobs(5, GB, alone=True), claim_all)] == []
    assert Process.most == 1


def test_under_pressure_the_youngest_makes_room_and_is_tried_again_alone(machine):
    pool = LocalPool(Allowance(2))
    machine(100 * GB)
    claimed: list[Job] = []
    pool._fill(jobs(2, GB), claimed, claim_all)
    machine(local.PRESSED - 1)
    pool._make_room(claimed)
    assert [(job.tasks[0].name, job.alone, job.lost) for job in claimed] == [("xx", True, 1)]
    assert [process.job.tasks[0].name for process in pool._running] == ["x"]
    pool._make_room(claimed)
    assert len(claimed) == 1  # the last one stays


def test_memory_of_what_a_process_started_counts():
    before = resident_bytes(os.getpid())
    held = "import sys; held = b'x' * (64 << 20); print(len(held), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in list_children(os.getpid())
        assert resident_bytes(os.getpid()) > before + (60 << 20)
        child.kill()
