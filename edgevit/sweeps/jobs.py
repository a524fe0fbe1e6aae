"""What executors run and what they tell: jobs of tasks, and events. An executor is one row here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from edgevit.core.cells import State

GIGABYTE = 1e9


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        name: tells it from the others of a run.
        arguments: of it; anything that can be pickled.
        folder: that its files are to lie in afterwards.
    """

    name: str
    arguments: Any
    folder: Path


@dataclass(frozen=True)
class Job:
    """Tasks that share what is slow to open, for one process.

    Attributes:
        function: ``(shared, tasks, tell) -> None``, written "module:function"; it calls the methods
            of :class:`Tell` and leaves files in the folders of the tasks.
        shared: arguments of all tasks; anything that can be pickled.
        tasks: in the order in which they are done.
        folder: that names of files and modules are relative to.
        files: that the tasks read, with the sha256 of each, for machines that do not share a disk
            with this one.
        need_bytes: memory that it is known to take; 0: nothing is known.
        seconds: wall time that it is known to take; 0: nothing is known.
        alone: whether it shall run while nothing else does.
        lost: how often its process was lost through no fault of its own.
        environment: variables of its process.
    """

    function: str
    shared: Any
    tasks: tuple[Task, ...]
    folder: Path
    files: tuple[tuple[Path, str], ...] = ()
    need_bytes: int = 0
    seconds: float = 0.0
    alone: bool = False
    lost: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)

    def without(self, done: set[str]) -> Job:
        """The tasks that are left."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.name not in done))


class Tell(Protocol):
    """What a job's function says on its way."""

    def started(self, name: str) -> None:
        """Of the task that is now being done."""
        ...

    def step(self, line: str) -> None:
        """A line about what is being done."""
        ...

    def done(self, name: str, document: Mapping[str, Any]) -> None:
        """Of a task, with JSON values; its files are in its folder."""
        ...


@dataclass(frozen=True)
class Event:
    """What became of a task.

    Attributes:
        kind: "started", "step", "done" or "died".
        task: name of it.
        line: of a step; why a process died.
        document: of a task that is done.
        state: of one that died.
        seconds: since it was started.
        peak_bytes: resident memory of its process.
        limit: that ended it: seconds or bytes; 0: none did.
        where: the process, or the machine.
    """

    kind: str
    task: str
    line: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    state: State = State.PASS
    seconds: float = 0.0
    peak_bytes: int = 0
    limit: float = 0.0
    where: str = ""


@dataclass(frozen=True)
class Allowance:
    """What a run may take.

    Attributes:
        workers: processes at once; 0: as many as there are cores for.
        threads: cores of each.
        seconds: of one task.
        task_bytes: resident memory of one process; None: no limit of its own.
        total_bytes: of all of them; None: what is free.
    """

    workers: int = 0
    threads: int = 1
    seconds: float = 3600.0
    task_bytes: int | None = None
    total_bytes: int | None = None


Claim = Callable[[Job], Job | None]


class Executor(Protocol):
    """What runs jobs.

    Attributes:
        workers: how many processes there may be at once.
    """

    workers: int

    def run(self, jobs: list[Job], claim: Claim) -> Iterator[Event]:
        """Runs jobs and tells of them, in any order.

        Args:
            jobs: the first are started first.
            claim: asked for each job just before it starts: what is still to be done of it, with
                the folders of its tasks; None: nothing.
        """
        ...

    def close(self) -> None:
        """Leaves what it is connected to; nothing is run any more."""
        ...


# Name -> "module:class", called with (allowance, address).
EXECUTORS = {
    "local": "edgevit.sweeps.local:LocalPool",
    "ray": "edgevit.sweeps.cluster:RayCluster",
}


def claim_all(job: Job) -> Job:
    """For jobs that no other run could take."""
    return job
