"""All cases side by side: one process each, one of them running at a time, in random order."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from edgevit.base.errors import ConfigError, RuntimeFailure
from edgevit.base.files import digest_path, size_path
from edgevit.bench.environment import describe_environment
from edgevit.bench.process import LIMIT_S, WorkerProcess
from edgevit.bench.yardstick import read_yardstick
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import BenchmarkCase, Measurement

ROUNDS = 30
TURN_S = 0.04  # how long a worker runs before the next one does
MOST_INFERENCES = 100  # in one turn
WARM_UP_S = 5.0
# Before another worker's turn. Threads of a pool go on spinning for a while after their last work.
PAUSE_S = 0.002
PAUSE_OF_THREADS_S = 0.02


class Worker(Protocol):
    """What a benchmark needs of a worker; :class:`WorkerProcess` is one."""

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to a request."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


OpenWorker = Callable[[BenchmarkCase], Worker]
Watch = Callable[[str, int, int, Sequence[Measurement]], None]


def run_benchmark(
    cases: Sequence[BenchmarkCase],
    rounds: int = ROUNDS,
    reference: int | None = None,
    seed: int = 0,
    limit_s: float = LIMIT_S,
    watch: Watch | None = None,
    open_worker: OpenWorker | None = None,
) -> BenchmarkResult:
    """Measures cases in interleaved rounds.

    A worker that refuses, dies or hangs leaves a row with its failure; the others go on.

    Args:
        cases: see :func:`edgevit.bench.cases.plan_cases`.
        rounds: turns of each case.
        reference: index of the case that the others are compared with.
        seed: of the order within each round.
        limit_s: for one answer of a worker.
        watch: told (what is done, done, total, rows so far) as the run goes on.
        open_worker: opens the worker of a case.

    Raises:
        ConfigError: no case, or no round.
    """
    if rounds < 1:
        raise ConfigError(f"a benchmark needs at least one round. Received: {rounds}")
    if not cases:
        raise ConfigError("a benchmark needs at least one file.")
    opener = open_worker or (lambda case: WorkerProcess(case.device, case.threads, limit_s))
    tell = watch or (lambda *news: None)
    with contextlib.ExitStack() as stack:
        table = _Table(cases, opener, stack)
        for number in range(len(cases)):
            tell(f"warming up {_label(cases[number])}", number, len(cases), table.rows)
            table.open(number)
        order = random.Random(seed)
        yardstick = []
        for done in range(rounds):
            tell("measuring", done, rounds, table.rows)
            yardstick.append(read_yardstick())
            turns = sorted(table.alive)
            order.shuffle(turns)
            for number in turns:
                table.take_turn(number)
            if not table.alive:
                break
        table.finish()
        tell("measuring", rounds, rounds, table.rows)
    return BenchmarkResult(
        environment=describe_environment(accelerator(cases)),
        rows=tuple(table.rows),
        reference=reference,
        yardstick_ns=tuple(yardstick),
        seed=seed,
    )


class _Table:
    """The rows of a run while they are measured."""

    def __init__(
        self, cases: Sequence[BenchmarkCase], opener: OpenWorker, stack: contextlib.ExitStack
    ):
        digests = {case.file: digest_path(Path(case.file)) for case in cases}
        self.rows = [
            Measurement(case, digests[case.file], size_path(Path(case.file))) for case in cases
        ]
        self.alive: dict[int, Worker] = {}
        self._counts: dict[int, int] = {}
        self._opener = opener
        self._stack = stack

    def open(self, number: int) -> None:
        """Starts a worker, loads its file and warms it up."""
        case = self.rows[number].case
        worker = self._opener(case)
        self._stack.callback(worker.close)
        self.alive[number] = worker
        with self._failure_noted(number):
            self._change(number, **worker.ask("open", **what_to_open(case)))
            warmth = worker.ask("warm", limit_s=WARM_UP_S)
            self._change(number, warmup=warmth["calls"], stable=warmth["stable"])
            self._counts[number] = inferences_in(TURN_S, warmth["call_ns"])

    def take_turn(self, number: int) -> None:
        """One round of one case."""
        row = self.rows[number]
        with self._failure_noted(number):
            samples = take_samples(self.alive[number], row.case, self._counts[number])
            self._change(number, latency_ns=(*row.latency_ns, samples))

    def finish(self) -> None:
        """Asks what is left to ask."""
        for number, worker in sorted(self.alive.items()):
            with self._failure_noted(number):
                self._change(number, **worker.ask("memory"))

    def _change(self, number: int, **fields: Any) -> None:
        self.rows[number] = replace(self.rows[number], **fields)

    @contextlib.contextmanager
    def _failure_noted(self, number: int):
        try:
            yield
        except RuntimeFailure as error:
            self._change(number, failure=str(error))
            self.alive.pop(number, None).close()  # type: ignore[union-attr]


def what_to_open(case: BenchmarkCase) -> dict[str, Any]:
    """Arguments of a worker's "open"."""
    return {
        "file": case.file,
        "runtime": case.runtime,
        "threads": case.threads,
        "batch": case.batch,
    }


def take_samples(
    worker: Worker, case: BenchmarkCase, count: int, slowdown: float = 0.0
) -> tuple[int, ...]:
    """One turn of a worker: ns of each of ``count`` inferences, after a pause."""
    time.sleep(PAUSE_OF_THREADS_S if case.threads > 1 else PAUSE_S)
    answer = worker.ask("run", count=count, lead=1 + count // 10, slowdown=slowdown)
    return tuple(answer["latency_ns"])


def inferences_in(seconds: float, call_ns: int) -> int:
    """How many inferences fill a turn: at least one."""
    return max(1, min(MOST_INFERENCES, round(seconds * 1e9 / max(1, call_ns))))


def _label(case: BenchmarkCase) -> str:
    return f"{Path(case.file).name} in {case.runtime}"


def accelerator(cases: Sequence[BenchmarkCase]) -> str:
    """The device beside the CPU that any case uses; "" for none."""
    return "gpu" if any(case.device == "gpu" for case in cases) else ""
