"""The gate: candidate and baseline run side by side until the verdict is clear, or rounds end."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgevit.base.errors import RuntimeFailure
from edgevit.base.files import digest_path
from edgevit.base.statistics import Interval
from edgevit.bench.baseline import Baseline, check_machine
from edgevit.bench.benchmark import (
    accelerator,
    inferences_in,
    run_benchmark,
    take_samples,
    what_to_open,
)
from edgevit.bench.environment import describe_environment
from edgevit.bench.gating import (
    BASELINE,
    CANDIDATE,
    GateProcess,
    GateReport,
    GateRule,
    GateVerdict,
    RecordedReport,
    judge,
    ratio_of,
)
from edgevit.bench.process import LIMIT_S, WorkerProcess
from edgevit.core.measurements import BenchmarkCase

TURN_S = 0.02
WARM_UP_S = 1.0

OpenGateWorker = Callable[[BenchmarkCase], WorkerProcess]
Watch = Callable[[int, int, Interval | None], None]


@dataclass
class _Member:
    """One process while it is measured."""

    side: str
    worker: WorkerProcess
    first_round: int
    latency_ns: list[tuple[int, ...]] = field(default_factory=list)


def run_gate(
    candidate: BenchmarkCase,
    baseline: BenchmarkCase,
    rule: GateRule | None = None,
    seed: int = 0,
    limit_s: float = LIMIT_S,
    watch: Watch | None = None,
    slowdown: float = 0.0,
    open_worker: OpenGateWorker | None = None,
) -> GateReport:
    """Compares two files, sampling on until the interval leaves the limit.

    Args:
        candidate: the file that is judged.
        baseline: what it is held against: another file, the same runtime, threads and batch.
        rule: the limit, and when to stop.
        seed: of the order within each round.
        limit_s: for one answer of a worker.
        watch: told (rounds done, most rounds, the ratio so far).
        slowdown: share by which every inference of the candidate is made longer; to prove the gate.
        open_worker: starts a process; another one in tests.

    Raises:
        RuntimeFailure: a worker refused its file, died or hung: there is no verdict.
        ConfigError: the rule makes no sense.
    """
    rule = rule or GateRule()
    opener = open_worker or (lambda case: WorkerProcess(case.device, case.threads, limit_s))
    digests = digest_path(Path(candidate.file)), digest_path(Path(baseline.file))
    order = random.Random(seed)
    with contextlib.ExitStack() as stack:
        crew = _Crew(candidate, baseline, opener, slowdown, stack)
        crew.join(rule.processes, 0)
        for number in range(1, rule.most_rounds + 1):
            crew.play_round(order)
            if number % rule.look_every and number != rule.most_rounds:
                continue
            ratio = ratio_of(crew.record())
            if watch:
                watch(number, rule.most_rounds, ratio)
            if judge(ratio, rule.max_slowdown) is not GateVerdict.INCONCLUSIVE:
                break
            if crew.pairs < rule.most_processes and number < rule.most_rounds:
                crew.join(1, number)
        return GateReport(
            head=candidate.file,
            base=baseline.file,
            head_sha256=digests[0],
            base_sha256=digests[1],
            runtime=candidate.runtime,
            threads=candidate.threads,
            batch=crew.batch,
            rule=rule,
            processes=crew.record(),
            environment=describe_environment(accelerator([candidate])),
        )


def gate_baseline(
    pair: Baseline,
    rule: GateRule,
    name: str,
    seed: int = 0,
    limit_s: float = LIMIT_S,
    watch: Watch | None = None,
) -> GateReport | RecordedReport:
    """Holds a file against its baseline: the old file itself, or its recorded times.

    Args:
        pair: see :func:`edgevit.bench.baseline.find_baselines`.
        rule: the limit, and when to stop.
        name: how errors call the baseline.
        seed: as :func:`run_gate`.
        limit_s: likewise.
        watch: likewise.

    Raises:
        RuntimeFailure: a worker refused its file, died or hung.
        ConfigError: only times are at hand, and they come from another machine.
    """
    if pair.baseline is not None:
        return run_gate(pair.candidate, pair.baseline, rule, seed, limit_s, watch)
    assert pair.recorded is not None
    assert pair.result is not None
    check_machine(pair.result, [pair.candidate], name)
    now = run_benchmark([pair.candidate], seed=seed, limit_s=limit_s)
    if now.failed:
        raise RuntimeFailure(f"{pair.candidate.file}: {now.rows[0].failure}")
    return RecordedReport(
        now.rows[0], pair.recorded, now.yardstick_ns, pair.result.yardstick_ns, rule.max_slowdown
    )


class _Crew:
    """All processes of both files."""

    def __init__(
        self,
        candidate: BenchmarkCase,
        baseline: BenchmarkCase,
        opener: OpenGateWorker,
        slowdown: float,
        stack: contextlib.ExitStack,
    ):
        self._sides = {CANDIDATE: (candidate, slowdown), BASELINE: (baseline, 0.0)}
        self._opener = opener
        self._stack = stack
        self._count = 0
        self._members: list[_Member] = []
        self.batch = 0

    @property
    def pairs(self) -> int:
        """Processes of each file."""
        return len(self._members) // 2

    def join(self, count: int, first_round: int) -> None:
        """Starts more processes of either file, all at once, and warms each up alone."""
        fresh = []
        for _ in range(count):
            for side, (case, _) in self._sides.items():
                worker = self._opener(case)
                self._stack.callback(worker.close)
                fresh.append(_Member(side, worker, first_round))
                worker.send("open", **what_to_open(case))
        for member in fresh:
            with self._named(member):
                self.batch = member.worker.receive()["batch"]
        for member in fresh:
            with self._named(member):
                warmth = member.worker.ask("warm", limit_s=WARM_UP_S)
                self._count = self._count or inferences_in(TURN_S, warmth["call_ns"])
        self._members += fresh

    def play_round(self, order: random.Random) -> None:
        """Every process runs for a moment, in random order."""
        turns = list(self._members)
        order.shuffle(turns)
        for member in turns:
            case, slowdown = self._sides[member.side]
            with self._named(member):
                member.latency_ns.append(take_samples(member.worker, case, self._count, slowdown))

    def record(self) -> tuple[GateProcess, ...]:
        """What was measured so far."""
        return tuple(
            GateProcess(member.side, member.first_round, tuple(member.latency_ns))
            for member in self._members
            if member.latency_ns
        )

    @contextlib.contextmanager
    def _named(self, member: _Member):
        try:
            yield
        except RuntimeFailure as error:
            name = "candidate" if member.side == CANDIDATE else "baseline"
            file = self._sides[member.side][0].file
            raise RuntimeFailure(f"{name} {file}: {error}") from None
