"""A job's process from the outside: it can crash, hang or eat memory, and each becomes a line."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgevit.base.children import child_environment, name_signal
from edgevit.base.errors import in_one_line
from edgevit.core.cells import State
from edgevit.sweeps.jobs import GIGABYTE, Allowance, Event, Job
from edgevit.sweeps.worker import LENGTH

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
TICK_S = 0.1  # between two looks at a process


class JobProcess:
    """One running job.

    Args:
        job: with the folders of its tasks.
        allowance: of time and memory.

    Attributes:
        job: likewise.
        done: names of the tasks that are done, or that died.
        rss: resident bytes at the last look.
        peak: the most of them since the task began.
        lost: whether it ended through no fault of its own, so that the rest may be tried again.
    """

    def __init__(self, job: Job, allowance: Allowance):
        self.job, self._allowance = job, allowance
        self.done: set[str] = set()
        self.rss = self.peak = 0
        self.lost = False
        self._pending = b""
        self._task = job.tasks[0].name
        self._step = "starting"
        self.began = self._task_began = time.monotonic()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgevit.sweeps.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**job_environment(allowance.threads), **job.environment},
            cwd=job.folder,
            start_new_session=True,  # Ctrl-C is for the parent, which ends it
        )
        assert self._process.stdin
        assert self._process.stdout
        self.answers = self._process.stdout.fileno()
        os.set_blocking(self.answers, False)
        tasks = [(task.name, task.arguments, str(task.folder)) for task in job.tasks]
        request = pickle.dumps((job.function, job.shared, tasks))
        with contextlib.suppress(OSError):  # it died at once, which is noticed below
            self._process.stdin.write(LENGTH.pack(len(request)) + request)
            self._process.stdin.flush()

    @property
    def ended(self) -> bool:
        """Whether it is gone; what is left of its job is then to be done by another."""
        return self._process.returncode is not None

    def look(self) -> list[Event]:
        """What happened since the last look. A process beyond a limit is ended."""
        code = self._process.poll()
        events = self._read()
        if code is not None:
            events += self._read()
            return [*events, *self._bury(code)]
        self.rss = resident_bytes(self._process.pid)
        self.peak = max(self.peak, self.rss)
        return [*events, *self._check_limits()]

    def end(self, lost: bool = False) -> None:
        """Kills it, with all that it started.

        Args:
            lost: whether the rest of its job may be tried again.
        """
        self.lost = lost
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _read(self) -> list[Event]:
        with contextlib.suppress(BlockingIOError, ValueError, OSError):
            while part := os.read(self.answers, 1 << 16):
                self._pending += part
        *lines, self._pending = self._pending.split(b"\n")
        return [event for line in lines for event in self._understand(json.loads(line))]

    def _understand(self, message: dict) -> list[Event]:
        if "started" in message:
            self._task, self._task_began = message["started"], time.monotonic()
            self.peak = self.rss
            return [Event("started", self._task, where=self._where)]
        if "step" in message:
            self._step = message["step"]
            return [Event("step", self._task, self._step, where=self._where)]
        name = message["done"]
        self.done.add(name)
        document = message["document"]
        self.peak = max(self.peak, int(document.get("peak_bytes") or 0))
        event = Event(
            "done",
            name,
            document=document,
            seconds=self._seconds,
            peak_bytes=self.peak,
            where=self._where,
        )
        left = [task.name for task in self.job.tasks if task.name not in self.done]
        self._task, self._task_began, self._step = (left or [name])[0], time.monotonic(), "waiting"
        return [event]

    @property
    def _where(self) -> str:
        return f"process {self._process.pid}"

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._task_began

    def _check_limits(self) -> list[Event]:
        most = self._allowance.task_bytes
        if most is not None and self.rss > most:
            self.end()
            return [
                self._died(
                    State.MEMORY,
                    f"took {self.peak / GIGABYTE:.2f} GB while {self._step}, where the plan allows "
                    f"{most / GIGABYTE:.2f} GB, and was ended",
                    most,
                )
            ]
        if self._seconds > self._allowance.seconds:
            self.end()
            return [
                self._died(
                    State.HUNG,
                    f"did not end within {self._allowance.seconds:g} s (while {self._step}), and "
                    "was ended",
                    self._allowance.seconds,
                )
            ]
        return []

    def _bury(self, code: int) -> list[Event]:
        said = self._last_line()
        self.end()
        left = [task.name for task in self.job.tasks if task.name not in self.done]
        if not left:
            return []
        if code == -signal.SIGKILL and not self.job.alone:  # nobody here did that: tried alone
            self.lost = True
            return []
        if code == -signal.SIGKILL:
            reason = f"was killed while {self._step}, as the system does for want of memory"
            return [self._died(State.MEMORY, reason, self.peak)]
        name = name_signal(code)
        if name is not None:
            return [self._died(State.CRASHED, f"died of {name} while {self._step}")]
        reason = f"ended with exit code {code} while {self._step}{said}"
        return [self._died(State.CRASHED, reason)]

    def _last_line(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 4000))
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            return f"; it said: {in_one_line(lines[-1], 200)}" if lines else ""
        return ""

    def _died(self, state: State, reason: str, limit: float = 0.0) -> Event:
        self.done.add(self._task)
        return Event(
            "died",
            self._task,
            reason,
            state=state,
            seconds=self._seconds,
            peak_bytes=self.peak,
            limit=limit,
            where=self._where,
        )


def resident_bytes(pid: int) -> int:
    """Of a process and all that it started; 0 where the system does not say."""
    found, waiting = 0, [pid]
    while waiting:
        number = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):
            found += int(Path(f"/proc/{number}/statm").read_text().split()[1]) * PAGE
        waiting += list_children(number)
    return found


def list_children(pid: int) -> list[int]:
    """Processes that a process started and that live; none where the system does not say."""
    with contextlib.suppress(OSError):
        path = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in path.read_text().split()]
    return []


def job_environment(threads: int) -> dict[str, str]:
    """Variables of a worker: this package is found, and bits do not depend on the machine."""
    fixed = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        **dict.fromkeys(THREADS, str(threads)),
    }
    defaults = {"TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    return {**defaults, **child_environment(**fixed)}
