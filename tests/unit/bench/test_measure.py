"""The stopwatch: a known sleep is measured, and equal candidates come out equal.

How long things take is told by a clock of the tests' own wherever the answer depends on it, so that
a busy machine cannot fail them; one test looks at the real clock and asks only for what holds on
any machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest

from edgevit.bench import measure
from edgevit.bench.environment import describe_environment
from edgevit.bench.measure import Samples, measure_interleaved, time_calls, warm_up

SLEEP_MS = 10.0
NS_A_MS = 1_000_000


class Clock:
    """Stands in for the module `time`: time passes by `sleep`, and a little by each reading."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        self.now_ns += 100
        return self.now_ns

    def monotonic(self) -> float:
        return self.perf_counter_ns() / 1e9

    def sleep(self, milliseconds: float) -> None:
        self.now_ns += round(milliseconds * NS_A_MS)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock that edgevit.bench.measure reads."""
    found = Clock()
    monkeypatch.setattr(measure, "time", found)
    return found


@pytest.fixture
def sleep(clock) -> Callable[[], None]:
    """A call of SLEEP_MS and up to a tenth more."""
    rng = np.random.default_rng(0)
    return lambda: clock.sleep(SLEEP_MS * rng.uniform(1, 1.1))


@pytest.fixture
def asleep(sleep) -> Samples:
    return measure_interleaved({"a": sleep, "b": sleep}, rounds=25, runs=2, warmup=1)


def test_a_sleep_of_the_real_clock_is_never_measured_as_shorter():
    def nap():
        time.sleep(SLEEP_MS / 1000)

    samples = measure_interleaved({"a": nap}, rounds=3, runs=2, warmup=1)
    assert min(samples.latency_ns["a"] + tuple(time_calls(nap, 3))) >= SLEEP_MS * NS_A_MS


def test_a_call_of_known_length_is_measured(asleep):
    for name in ("a", "b"):
        assert SLEEP_MS <= asleep.median_ms(name) <= 1.1 * SLEEP_MS


def test_a_candidate_against_itself_has_1_in_its_interval(asleep):
    ratio, low, high = asleep.ratio("a", "b")
    assert low <= 1.0 <= high
    assert low <= ratio <= high


def test_every_round_of_every_candidate_leaves_a_raw_sample(asleep):
    assert {name: len(values) for name, values in asleep.latency_ns.items()} == {"a": 25, "b": 25}
    assert all(isinstance(value, int) for value in asleep.latency_ns["a"])


def test_the_number_of_calls_is_warmup_plus_rounds_times_runs():
    calls = {"a": 0, "b": 0}

    def counted(name):
        def run():
            calls[name] += 1

        return run

    measure_interleaved({name: counted(name) for name in calls}, rounds=7, runs=3, warmup=4)
    assert calls == {"a": 4 + 21, "b": 4 + 21}


def test_candidates_take_turns_in_an_order_that_changes_and_can_be_repeated():
    def order_of(seed: int) -> str:
        seen: list[str] = []
        candidates = {name: lambda name=name: seen.append(name) for name in "abc"}
        measure_interleaved(candidates, rounds=20, runs=1, warmup=0, seed=seed)
        return "".join(seen)

    order = order_of(0)
    rounds = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert len(set(rounds)) > 1
    assert order == order_of(0) != order_of(1)


def test_a_candidate_that_takes_twice_as_long_has_a_ratio_of_2():
    rng = np.random.default_rng(0)
    base = rng.normal(1e6, 2e4, 101)
    samples = Samples({"slow": tuple(2 * base), "fast": tuple(base)})
    ratio, low, high = samples.ratio("slow", "fast")
    assert ratio == pytest.approx(2.0)
    assert low <= 2.0 <= high
    inverse, *_ = samples.ratio("fast", "slow")
    assert inverse == pytest.approx(0.5)


def test_the_interval_leaves_out_1_where_the_difference_is_real():
    rng = np.random.default_rng(1)
    samples = Samples(
        {"a": tuple(rng.normal(1.2e6, 5e4, 60)), "b": tuple(rng.normal(1e6, 5e4, 60))}
    )
    _, low, high = samples.ratio("a", "b")
    assert 1.0 < low < 1.2 < high < 1.4


def test_the_interval_of_equal_candidates_holds_1_in_about_95_of_100_runs():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        pair = rng.normal(1e6, 5e4, (2, 41))
        _, low, high = Samples({"a": tuple(pair[0]), "b": tuple(pair[1])}).ratio("a", "b")
        held += low <= 1.0 <= high
    assert 88 <= held <= 100


def test_the_middle_withstands_one_wild_sample():
    samples = Samples({"a": (1_000_000, 1_100_000, 900_000, 1_050_000, 90_000_000)})
    assert samples.median_ms("a") == pytest.approx(1.05)


def test_the_machine_is_described_with_its_cores_and_versions():
    found = describe_environment()
    assert found.cores >= 1
    assert found.cpu
    assert found.versions["python"].startswith("3.")
    assert found.same_machine(describe_environment())
    assert len(found.host) == 16


def test_warming_up_ends_when_the_time_of_a_call_stands_still(clock):
    calls = 0

    def settles():
        nonlocal calls
        calls += 1
        clock.sleep(40 / calls if calls < 13 else 2)

    found = warm_up(settles, limit_s=20, block_s=0.001, tolerance=0.3)
    assert found.stable
    assert found.calls == calls == 12 + 3 * 3
    assert 2 * NS_A_MS <= found.call_ns < 2.01 * NS_A_MS


def test_a_block_of_warming_up_lasts_as_long_as_asked(clock):
    found = warm_up(lambda: clock.sleep(1), limit_s=20, block_s=0.05)
    assert found.stable
    assert 3 * 49 <= found.calls <= 3 * 50


def test_warming_up_what_never_settles_ends_at_the_limit_and_says_so(clock):
    grows = iter(range(1, 1000))
    found = warm_up(lambda: clock.sleep(2 * next(grows)), limit_s=0.1, block_s=0.001)
    assert not found.stable
    assert 0.1 <= clock.now_ns / 1e9 < 0.2


def test_an_injected_slowdown_makes_every_call_longer_by_its_share(sleep):
    plain = time_calls(sleep, 30)
    slowed = time_calls(sleep, 30, slowdown=0.5)
    assert SLEEP_MS <= min(plain) / NS_A_MS <= max(plain) / NS_A_MS <= 1.101 * SLEEP_MS
    assert 1.5 * SLEEP_MS <= min(slowed) / NS_A_MS <= max(slowed) / NS_A_MS <= 1.651 * SLEEP_MS


def test_garbage_collection_is_off_while_calls_are_timed_and_on_again_after():
    seen = []
    time_calls(lambda: seen.append(gc.isenabled()), 2)
    assert seen == [False, False]
    assert gc.isenabled()
