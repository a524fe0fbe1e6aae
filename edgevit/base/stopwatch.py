"""Where the time of a whole process goes, stage by stage, from its start on."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/stat")
START = 19  # field of proc_pid_stat(5) behind the name: when the process started, in ticks
IMPORTED = time.perf_counter()


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        name: what was done.
        seconds: of wall time.
    """

    name: str
    seconds: float


class Stopwatch:
    """Splits a process' wall time into stages that follow each other without a gap.

    Args:
        first: name of the stage that began with the process.
    """

    def __init__(self, first: str):
        self._began = time.perf_counter() - seconds_alive()
        self._name = first
        self._stages: list[Stage] = []

    def begin(self, name: str) -> None:
        """Ends the stage that runs and begins another."""
        now = time.perf_counter()
        self._stages.append(Stage(self._name, now - self._began))
        self._began, self._name = now, name

    def stop(self) -> tuple[Stage, ...]:
        """Ends the last stage; all of them, whose sum is the wall time of the process so far."""
        self.begin("")
        return tuple(self._stages)


def seconds_alive() -> float:
    """Since this process started; since it imported this module where no system says."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        fields = STATUS.read_text().rpartition(")")[2].split()
        started = int(fields[START]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    return time.perf_counter() - IMPORTED
