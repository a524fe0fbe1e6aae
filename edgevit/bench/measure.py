"""Interleaved timing: raw samples first, statistics late."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgevit.base.statistics import paired_ratio


@dataclass(frozen=True)
class Samples:
    """Raw wall times of several candidates from one interleaved run.

    Attributes:
        latency_ns: for each candidate, one entry a round; entry k of all candidates was measured
            within the same short span of time.
    """

    latency_ns: dict[str, tuple[int, ...]]

    def median_ms(self, name: str) -> float:
        """Median latency in milliseconds."""
        return statistics.median(self.latency_ns[name]) / 1e6

    def ratio(self, name: str, reference: str) -> tuple[float, float, float]:
        """Median over rounds of one's time over another's, with a 95 % bootstrap interval.

        Returns:
            (ratio, lower end, upper end). Rounds are resampled as pairs, since both candidates of a
            round met the same machine.
        """
        found = paired_ratio(self.latency_ns[name], self.latency_ns[reference])
        return found.middle, found.low, found.high


@contextmanager
def garbage_kept() -> Iterator[None]:
    """No garbage collection while the context lasts."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def time_calls(call: Callable[[], object], count: int, slowdown: float = 0.0) -> list[int]:
    """Wall time of each of several calls, in ns.

    Args:
        call: what is timed.
        count: how often.
        slowdown: share of its own time that each call is made longer by, spinning. It exists to
            prove that the gate sees a slowdown (benchmarks/gate_power.py).
    """
    clock = time.perf_counter_ns
    samples = []
    with garbage_kept():
        for _ in range(count):
            started = clock()
            call()
            ended = clock()
            if slowdown:
                until = ended + (ended - started) * slowdown
                while ended < until:
                    ended = clock()
            samples.append(ended - started)
    return samples


@dataclass(frozen=True)
class Warmth:
    """How warming up went.

    Attributes:
        calls: how many it took.
        stable: whether the time of a call stopped changing within the limit.
        call_ns: time of a call at the end.
    """

    calls: int
    stable: bool
    call_ns: int


def warm_up(
    call: Callable[[], object],
    limit_s: float,
    block_s: float = 0.05,
    tolerance: float = 0.03,
) -> Warmth:
    """Calls until the median of a block equals that of the last two blocks, or time is up.

    Args:
        call: what is warmed up.
        limit_s: no new block begins after that.
        block_s: length of a block; at least three calls.
        tolerance: relative difference that counts as equal.
    """
    started = time.monotonic()
    medians: list[float] = []
    calls = 0
    while True:
        block: list[int] = []
        ends = time.monotonic() + block_s
        while len(block) < 3 or time.monotonic() < ends:
            block += time_calls(call, 1)
        calls += len(block)
        medians.append(statistics.median(block))
        recent = medians[-3:]
        stable = len(recent) == 3 and max(recent) <= min(recent) * (1 + tolerance)
        if stable or time.monotonic() - started > limit_s:
            return Warmth(calls, stable, int(medians[-1]))


def measure_interleaved(
    candidates: dict[str, Callable[[], object]],
    rounds: int = 200,
    runs: int = 5,
    warmup: int = 20,
    seed: int = 0,
) -> Samples:
    """Times candidates in turns, in random order within each round.

    Args:
        candidates: one inference each.
        rounds: samples for each candidate.
        runs: inferences behind a sample, which is their mean.
        warmup: inferences of each candidate before the first round.
        seed: of the order.
    """
    for run in candidates.values():
        for _ in range(warmup):
            run()
    order = random.Random(seed)
    samples: dict[str, list[int]] = {name: [] for name in candidates}
    for _ in range(rounds):
        names = list(candidates)
        order.shuffle(names)
        for name in names:
            run = candidates[name]
            started = time.perf_counter_ns()
            for _ in range(runs):
                run()
            samples[name].append((time.perf_counter_ns() - started) // runs)
    return Samples({name: tuple(values) for name, values in samples.items()})
