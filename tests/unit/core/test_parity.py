"""Verdicts are derived from raw figures, and fail closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgevit.core.parity import ParityReport, Verdict, worst
from edgevit.core.tolerance import Tolerance
from edgevit.formats.registry import TARGETS

LIMITS = Tolerance(
    max_abs=0.5,
    max_relative=0.1,
    min_agreement=0.9,
    max_relative_other=0.2,
    reason="for these tests",
)
GOOD = ParityReport("any", images=10, max_abs=0.5, mean_abs=0.1, relative=0.1, top1_agreement=0.9)
NAN = float("nan")


def test_figures_that_lie_exactly_on_the_limits_pass():
    assert GOOD.verdict(LIMITS) is Verdict.PASS


@pytest.mark.parametrize(
    "figure",
    [{"max_abs": 0.5001}, {"relative": 0.1001}, {"top1_agreement": 0.8999}],
    ids=["max_abs", "relative", "agreement"],
)
def test_each_limit_alone_can_fail_a_file(figure):
    assert replace(GOOD, **figure).verdict(LIMITS) is Verdict.FAIL


@pytest.mark.parametrize("value", [NAN, float("inf")], ids=["nan", "inf"])
@pytest.mark.parametrize("name", ["max_abs", "mean_abs", "relative"])
def test_a_distance_that_is_not_finite_fails(name, value):
    assert replace(GOOD, **{name: value}).verdict(LIMITS) is Verdict.FAIL


def test_a_nan_agreement_fails():
    assert replace(GOOD, top1_agreement=NAN).verdict(LIMITS) is Verdict.FAIL


@pytest.mark.parametrize("name", ["max_abs", "mean_abs"])
def test_a_nan_fails_even_where_the_largest_difference_has_no_limit(name):
    loose = replace(LIMITS, max_abs=None)
    assert replace(GOOD, max_abs=1e9).verdict(loose) is Verdict.PASS
    assert replace(GOOD, **{name: NAN}).verdict(loose) is Verdict.FAIL


@pytest.mark.parametrize("field", ["max_relative", "min_agreement", "max_abs"])
def test_a_limit_that_is_nan_lets_nothing_pass(field):
    assert GOOD.verdict(replace(LIMITS, **{field: NAN})) is Verdict.FAIL


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_image_is_not_run_for_any_target(target):
    empty = ParityReport("any", 0, max_abs=0.0, mean_abs=0.0, relative=0.0, top1_agreement=1.0)
    assert empty.verdict(target.tolerance) is Verdict.NOT_RUN


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.FAIL, Verdict.NOT_RUN], Verdict.FAIL),
        ([Verdict.PASS, Verdict.NOT_RUN], Verdict.NOT_RUN),
        ([], Verdict.NOT_RUN),
    ],
)
def test_the_worst_verdict_wins_and_no_check_at_all_is_not_a_pass(verdicts, expected):
    assert worst(verdicts) is expected
