"""Interleaved timing: raw samples first, statistics late."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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

    def spread_ms(self, name: str) -> float:
        """Median absolute deviation in milliseconds."""
        middle = statistics.median(self.latency_ns[name])
        return statistics.median(abs(x - middle) for x in self.latency_ns[name]) / 1e6

    def ratio(self, name: str, reference: str) -> tuple[float, float, float]:
        """Median of one over the median of another, with a 95 % bootstrap interval over rounds.

        Returns:
            (ratio, lower end, upper end). Rounds are resampled as pairs, since both candidates of a
            round met the same machine.
        """
        pair = np.array([self.latency_ns[name], self.latency_ns[reference]], dtype=np.float64)
        rng = np.random.default_rng(0)
        chosen = rng.integers(0, pair.shape[1], (2000, pair.shape[1]))
        medians = np.median(pair[:, chosen], axis=-1)  # 2 2000
        low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
        middle = np.median(pair, axis=-1)
        return float(middle[0] / middle[1]), float(low), float(high)


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
