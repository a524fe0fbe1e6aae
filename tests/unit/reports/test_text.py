"""The figures behind a verdict are the worst of several runs, and NaN is the worst of all."""

from __future__ import annotations

import math

import pytest

from edgevit.core.parity import ParityReport
from edgevit.reports.text import summarise_parity

NAN = float("nan")
FIRST = ParityReport("a", 10, max_abs=0.5, mean_abs=0.2, relative=0.1, top1_agreement=0.9)
SECOND = ParityReport("b", 10, max_abs=0.4, mean_abs=0.3, relative=0.2, top1_agreement=0.8)
BROKEN = ParityReport("c", 10, max_abs=NAN, mean_abs=NAN, relative=NAN, top1_agreement=0.0)


@pytest.mark.parametrize("reports", [[FIRST, SECOND], [SECOND, FIRST]], ids=["ab", "ba"])
def test_each_figure_is_the_worst_of_its_own(reports):
    assert summarise_parity(reports) == {
        "max_abs": 0.5,
        "mean_abs": 0.3,
        "relative": 0.2,
        "top1_agreement": 0.8,
    }


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_nan_wins_wherever_it_stands(place):
    reports = [FIRST, SECOND]
    reports.insert(place, BROKEN)
    figures = summarise_parity(reports)
    assert all(math.isnan(figures[name]) for name in ("max_abs", "mean_abs", "relative"))
    assert figures["top1_agreement"] == 0.0


def test_no_report_at_all_gives_no_figure_that_looks_good():
    figures = summarise_parity([])
    assert all(math.isnan(figures[name]) for name in ("max_abs", "mean_abs", "relative"))
    assert figures["top1_agreement"] == 0.0
