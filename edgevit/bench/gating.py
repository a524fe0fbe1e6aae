"""The gate's rule, raw samples and verdict: is a new file slower than an old one?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.statistics import (
    Interval,
    difference_of_means,
    sign_interval,
    unpaired_ratio,
)
from edgevit.core.benchmarks import NOISE_LIMIT
from edgevit.core.measurements import Environment, Measurement

# Of a process' inferences in one round, this percentile stands for the round: a process that other
# work interrupts now and then still shows what an inference takes when it is let alone.
PERCENTILE = 25
# Level of the interval over rounds. It is looked at again and again, so each look is strict.
ROUND_LEVEL = 0.99
FEWEST_ROUNDS = 8  # the fewest from which the sign interval of that level has ends

# Sides in the JSON document, whose keys go on calling the candidate head and the baseline base.
CANDIDATE, BASELINE = "head", "base"


class GateVerdict(StrEnum):
    """Outcome of a gate."""

    OK = "ok"
    SLOWER = "slower"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class GateRule:
    """When the gate says what, and when it stops asking.

    Attributes:
        max_slowdown: the limit, such as 0.05: time of candidate over baseline may be up to 1.05.
        processes: of each file at the start. Two processes of one file differ (where memory came to
            lie, and so how caches collide), and only several of them show by how much.
        most_processes: of each file; one joins on either side while the interval holds the limit.
        look_every: rounds between two looks at the interval.
        most_rounds: then it is inconclusive.
    """

    max_slowdown: float = 0.05
    processes: int = 2
    most_processes: int = 5
    look_every: int = FEWEST_ROUNDS
    most_rounds: int = 64

    def __post_init__(self):
        if not 0 < self.max_slowdown < 10:
            raise ConfigError(
                f"a slowdown is a share above 0, such as 5%. Received: {100 * self.max_slowdown:g}%"
            )
        if not 2 <= self.processes <= self.most_processes:
            raise ConfigError(
                "the gate needs at least two processes of each file to see by how much two of the "
                f"same differ. Received: {self.processes} to {self.most_processes}"
            )
        if self.look_every < 1 or self.most_rounds < FEWEST_ROUNDS:
            raise ConfigError(
                f"the gate needs at least {FEWEST_ROUNDS} rounds before it can decide. "
                f"Received: {self.most_rounds}"
            )


def make_rule(max_slowdown: float, most_rounds: int | None = None) -> GateRule:
    """A rule of the usual kind, perhaps with another number of rounds.

    Raises:
        ConfigError: it could not decide anything.
    """
    rounds = GateRule.most_rounds if most_rounds is None else most_rounds
    return GateRule(max_slowdown, most_rounds=rounds)


def read_share(text: str) -> float:
    """``5%`` or ``0.05``.

    Raises:
        ConfigError: it is no share above 0.
    """
    stripped = text.strip()
    try:
        share = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 10:
        raise ConfigError(f"{text!r} is no share above 0, such as 5% or 0.05.")
    return share


@dataclass(frozen=True)
class GateProcess:
    """What one process of one file measured.

    Attributes:
        side: CANDIDATE or BASELINE.
        first_round: the round that it joined in.
        latency_ns: one row a round, one entry an inference.
    """

    side: str
    first_round: int
    latency_ns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class GateReport:
    """One gated comparison.

    Attributes:
        head: the candidate, which is judged.
        base: the baseline that it is held against.
        head_sha256: digest of the candidate.
        base_sha256: digest of the baseline.
        runtime: that ran both.
        threads: of the kernels.
        batch: images in an inference.
        rule: when the gate says what.
        processes: of both files.
        environment: the machine.
    """

    head: str
    base: str
    head_sha256: str
    base_sha256: str
    runtime: str
    threads: int
    batch: int
    rule: GateRule
    processes: tuple[GateProcess, ...]
    environment: Environment

    @property
    def rounds(self) -> int:
        """How many were measured."""
        return count_rounds(self.processes)

    @property
    def processes_each(self) -> int:
        """Processes of each file."""
        return sum(process.side == CANDIDATE for process in self.processes)

    @property
    def ratio(self) -> Interval:
        """Time of the candidate over time of the baseline."""
        return ratio_of(self.processes)

    @property
    def verdict(self) -> GateVerdict:
        """What the gate says."""
        return judge(self.ratio, self.rule.max_slowdown)

    @property
    def faster(self) -> bool:
        """Whether the whole interval lies below 1."""
        return self.ratio.high < 1


@dataclass(frozen=True)
class RecordedReport:
    """A file against times that were recorded earlier, on this machine.

    Less can be said than when both run: the machine's own speed differs from hour to hour. Both are
    therefore in units of the fixed computation that was measured beside them; where that differs by
    more than it may, the verdict is inconclusive.

    Attributes:
        head: the candidate, measured now.
        base: the baseline, recorded.
        head_yardstick_ns: the fixed computation now.
        base_yardstick_ns: the fixed computation then.
        max_slowdown: the limit.
    """

    head: Measurement
    base: Measurement
    head_yardstick_ns: tuple[int, ...]
    base_yardstick_ns: tuple[int, ...]
    max_slowdown: float

    @property
    def speed_ratio(self) -> float:
        """Time of the fixed computation now over then."""
        return float(np.median(self.head_yardstick_ns) / np.median(self.base_yardstick_ns))

    @property
    def ratio(self) -> Interval:
        """Time of candidate over baseline, each in units of the fixed computation."""
        found = unpaired_ratio(self.head.round_medians_ns, self.base.round_medians_ns)
        return Interval(*(end / self.speed_ratio for end in (found.middle, found.low, found.high)))

    @property
    def verdict(self) -> GateVerdict:
        """What the gate says."""
        if abs(self.speed_ratio - 1) > NOISE_LIMIT:
            return GateVerdict.INCONCLUSIVE
        return judge(self.ratio, self.max_slowdown)


def judge(ratio: Interval, max_slowdown: float) -> GateVerdict:
    """SLOWER or OK only where the whole interval lies on one side of the limit."""
    limit = 1 + max_slowdown
    if ratio.low > limit:
        return GateVerdict.SLOWER
    if ratio.high <= limit:  # NaN is neither
        return GateVerdict.OK
    return GateVerdict.INCONCLUSIVE


def count_rounds(processes: tuple[GateProcess, ...]) -> int:
    """Rounds that were measured."""
    return max((process.first_round + len(process.latency_ns) for process in processes), default=0)


def ratio_of(processes: tuple[GateProcess, ...]) -> Interval:
    """Time of candidate over baseline, with an interval that holds two kinds of doubt.

    Every round lets each process run for a moment, so a change of the machine's speed meets both
    files. The lower quartile of its inferences is its time in the round. In logarithms: a round's
    level is the mean over the processes that were there from the start; a process' effect is the
    median, over its rounds, of its time less that level; the estimate is the mean effect of the
    candidate less that of the baseline. Its interval is the hull of

    - Student's 95 % interval over processes (how far two processes of one file differ), and
    - the sign interval over rounds of each round's own difference (no distribution assumed), moved
      to the estimate.

    With fewer than two processes a side, or too few rounds, the ends are 0 and infinity.
    """
    count = count_rounds(processes)
    times = np.full((len(processes), count), np.nan)  # P R
    for number, process in enumerate(processes):
        marks = [math.log(np.percentile(row, PERCENTILE)) for row in process.latency_ns]
        times[number, process.first_round : process.first_round + len(marks)] = marks
    sides = np.array([process.side for process in processes])
    candidate, baseline = sides == CANDIDATE, sides == BASELINE
    if min(candidate.sum(), baseline.sum()) < 2 or count == 0:
        return Interval(math.nan, 0.0, math.inf)
    founders = np.array([process.first_round == 0 for process in processes])
    level = times[founders].mean(axis=0)  # R
    effects = np.nanmedian(times - level, axis=1)  # P
    over_processes = difference_of_means(list(effects[candidate]), list(effects[baseline]))
    each_round = np.nanmean(times[candidate], axis=0) - np.nanmean(times[baseline], axis=0)  # R
    over_rounds = sign_interval(list(each_round), ROUND_LEVEL)
    moved = over_processes.middle - over_rounds.middle
    ends = over_processes.hull(
        Interval(over_rounds.middle, over_rounds.low + moved, over_rounds.high + moved)
    )
    high = math.exp(ends.high) if ends.high < math.inf else math.inf
    return Interval(math.exp(ends.middle), math.exp(ends.low), high)
