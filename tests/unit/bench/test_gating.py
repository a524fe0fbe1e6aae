"""The gate's verdict as arithmetic: on drawn times, without a process or a clock."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.base.statistics import Interval
from edgevit.bench.gating import (
    BASELINE,
    CANDIDATE,
    GateProcess,
    GateRule,
    GateVerdict,
    judge,
    ratio_of,
)


def draw(
    rng: np.random.Generator,
    slowdown: float = 0.0,
    layout: float = 0.004,
    noise: float = 0.01,
    processes: int = 2,
    rounds: int = 8,
    drift: float = 0.0,
) -> tuple[GateProcess, ...]:
    """Times of a machine whose speed drifts, with processes that differ by their layout."""
    speed = np.exp(drift * np.linspace(0, 1, rounds) + rng.normal(0, 0.1, rounds))
    made = []
    for side, factor in ((CANDIDATE, 1 + slowdown), (BASELINE, 1.0)):
        for _ in range(processes):
            own = 1e6 * factor * math.exp(rng.normal(0, layout))
            times = own * speed[:, None] * np.exp(rng.normal(0, noise, (rounds, 9)))
            made.append(GateProcess(side, 0, tuple(tuple(map(int, row)) for row in times)))
    return tuple(made)


def test_a_steady_slowdown_is_measured_through_a_drifting_machine():
    found = ratio_of(draw(np.random.default_rng(0), 0.1, processes=4, rounds=40, drift=1.0))
    assert found.low < 1.1 < found.high
    assert found.half_width < 0.02


def test_equal_files_are_almost_never_called_slower_and_real_slowdowns_are():
    rule = GateRule(0.05)
    counts = {}
    for slowdown in (0.0, 0.1):
        rng = np.random.default_rng(1)
        verdicts = [judge(ratio_of(draw(rng, slowdown)), rule.max_slowdown) for _ in range(300)]
        counts[slowdown] = {kind: verdicts.count(kind) for kind in GateVerdict}
    assert counts[0.0][GateVerdict.SLOWER] == 0
    assert counts[0.0][GateVerdict.OK] > 200
    assert counts[0.1][GateVerdict.OK] == 0
    assert counts[0.1][GateVerdict.SLOWER] > 200


def test_processes_that_differ_widen_the_interval():
    same = ratio_of(draw(np.random.default_rng(2), layout=0.0, processes=3))
    differing = ratio_of(draw(np.random.default_rng(2), layout=0.05, processes=3))
    assert differing.half_width > 3 * same.half_width


def test_the_interval_holds_the_truth_where_layouts_dominate():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        found = ratio_of(draw(rng, layout=0.03, noise=0.002))
        held += found.low <= 1.0 <= found.high
    assert held >= 276  # 92 %


def test_a_process_that_joins_late_counts_like_the_others():
    rng = np.random.default_rng(6)
    early = draw(rng, 0.1, layout=0.0, rounds=24)
    late = tuple(GateProcess(process.side, 16, process.latency_ns[16:]) for process in early[::2])
    alone, together = ratio_of(early), ratio_of((*early, *late))
    assert together.middle == pytest.approx(alone.middle, rel=0.01)
    assert together.half_width < alone.half_width


def test_one_process_a_side_or_no_round_decides_nothing():
    rng = np.random.default_rng(7)
    for processes in (draw(rng, processes=1), draw(rng, rounds=0), ()):
        found = ratio_of(processes)
        assert (found.low, found.high) == (0.0, math.inf)
        assert judge(found, 0.05) is GateVerdict.INCONCLUSIVE


def test_few_rounds_decide_nothing():
    found = ratio_of(draw(np.random.default_rng(8), rounds=7))
    assert judge(found, 0.05) is GateVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.98, 1.05, GateVerdict.OK),
        (0.98, 1.0501, GateVerdict.INCONCLUSIVE),
        (1.05, 1.10, GateVerdict.INCONCLUSIVE),
        (1.0501, 1.10, GateVerdict.SLOWER),
        (math.nan, math.nan, GateVerdict.INCONCLUSIVE),
    ],
)
def test_a_verdict_takes_the_whole_interval_on_one_side(low, high, verdict):
    assert judge(Interval(1.0, low, high), 0.05) is verdict


@pytest.mark.parametrize(
    "fields",
    [
        {"max_slowdown": 0.0},
        {"max_slowdown": -0.05},
        {"max_slowdown": math.nan},
        {"processes": 1},
        {"processes": 6},
        {"most_rounds": 7},
        {"look_every": 0},
    ],
    ids=str,
)
def test_a_rule_that_cannot_decide_is_refused(fields):
    with pytest.raises(ConfigError):
        GateRule(**fields)
