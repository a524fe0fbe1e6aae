"""Jobs in processes of this machine: no more at once than its memory holds."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from dataclasses import replace

from edgevit.base import interrupt
from edgevit.base.bounds import free_memory
from edgevit.base.processor import count_cores
from edgevit.sweeps.jobs import Allowance, Claim, Event, Job
from edgevit.sweeps.process import TICK_S, JobProcess

UNKNOWN = 1 << 30  # bytes of a job of which nothing is known: TensorFlow and a small network
SHARE = 0.9  # of what is free that jobs may take
PRESSED = 256 << 20  # bytes; with less left free, one job makes room


class LocalPool:
    """Runs jobs side by side, each in a process of its own; see :class:`Executor`.

    Args:
        allowance: of processes, time and memory.
        address: none is needed.
    """

    def __init__(self, allowance: Allowance, address: str = ""):
        self._allowance = allowance
        self.workers = allowance.workers or max(1, count_cores() // allowance.threads)
        self._running: list[JobProcess] = []
        self._largest = 0  # memory of a job, as measured in this run

    def run(self, jobs: list[Job], claim: Claim) -> Iterator[Event]:
        """See :class:`edgevit.sweeps.jobs.Executor`."""
        waiting = list(jobs)
        claimed: list[Job] = []  # the rest of jobs whose process ended
        try:
            while waiting or claimed or self._running:
                self._fill(waiting, claimed, claim)
                yield from self._look(claimed)
        finally:
            for process in self._running:
                process.end()
            self._running.clear()

    def close(self) -> None:
        """There is nothing to leave."""

    def _fill(self, waiting: list[Job], claimed: list[Job], claim: Claim) -> None:
        while len(self._running) < self.workers:
            queue = claimed or waiting
            if not queue or not self._fits(queue[0]):
                return
            job = queue.pop(0)
            own = job if queue is claimed else claim(job)
            if own is not None and own.tasks:
                self._running.append(JobProcess(own, self._allowance))

    def _fits(self, job: Job) -> bool:
        """Whether memory holds one more job; the only one always fits."""
        if not self._running:
            return True
        if job.alone or any(process.job.alone for process in self._running):
            return False
        free = free_memory() + sum(process.rss for process in self._running)
        room = SHARE * min(free, self._allowance.total_bytes or free)
        taken = sum(max(self._need(p.job), p.rss) for p in self._running)
        return taken + self._need(job) <= room

    def _need(self, job: Job) -> int:
        return job.need_bytes or self._largest or UNKNOWN

    def _look(self, claimed: list[Job]) -> Iterator[Event]:
        interrupt.check()
        self._wait()
        for process in list(self._running):
            for event in process.look():
                self._largest = max(self._largest, event.peak_bytes)
                yield event
            if process.ended:
                self._running.remove(process)
                claimed += _rest_of(process)
        self._make_room(claimed)

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for process in self._running:
                selector.register(process.answers, selectors.EVENT_READ)
            selector.select(TICK_S)

    def _make_room(self, claimed: list[Job]) -> None:
        """Ends the youngest job before the system ends any; it is tried again alone."""
        if len(self._running) < 2 or free_memory() > PRESSED:
            return
        youngest = max(self._running, key=lambda process: process.began)
        youngest.end(lost=True)
        self._running.remove(youngest)
        claimed += _rest_of(youngest)


def _rest_of(process: JobProcess) -> list[Job]:
    """What an ended process left undone; alone, where it may have been for want of memory."""
    rest = process.job.without(process.done)
    if not rest.tasks:
        return []
    if process.lost:
        return [replace(rest, alone=True, lost=rest.lost + 1)]
    return [rest]
