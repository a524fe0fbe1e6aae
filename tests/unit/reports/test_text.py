"""The figures behind a verdict are the worst of several runs, and NaN is the worst of all."""

from __future__ import annotations

import math

import pytest

from edgevit.core.parity import KERNELS, OWN, OutputParity, ParityReport
from edgevit.core.signature import Role
from edgevit.reports.text import summarise_others, summarise_outputs, summarise_parity

NAN = float("nan")


def report(runtime: str, max_abs, mean_abs, relative, agreement, **more) -> ParityReport:
    logits = OutputParity(
        "logits", 10, max_abs, relative, 1.0, mean_abs, max_abs, Role.LOGITS, agreement
    )
    return ParityReport(runtime, (logits, *more.pop("others", ())), **more)


FIRST = report("a", 0.5, 0.2, 0.1, 0.9)
SECOND = report("b", 0.4, 0.3, 0.2, 0.8)
BROKEN = report("c", NAN, NAN, NAN, 0.0)


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


def test_runs_on_the_users_own_samples_stand_for_the_file():
    own = report("a", 0.1, 0.05, 0.01, 0.99, samples=OWN)
    assert summarise_parity([FIRST, own, SECOND])["max_abs"] == 0.1
    assert summarise_parity([FIRST, own, SECOND])["top1_agreement"] == 0.99


def test_kernels_against_one_another_are_no_distance_to_the_float_model():
    apart = report("b", 9.0, 9.0, 9.0, 0.0, samples=KERNELS)
    assert summarise_parity([FIRST, apart]) == summarise_parity([FIRST])


def boxes(max_abs: float, agreement: float = NAN) -> OutputParity:
    return OutputParity("boxes", 4, max_abs, 0.1, 9.0, role=Role.VALUES, agreement=agreement)


def test_each_output_has_its_own_worst_figures_in_the_models_order():
    runs = [
        report("a", 0.5, 0.2, 0.1, 0.9, others=[boxes(3.0)]),
        report("b", 0.4, 0.3, 0.2, 0.8, others=[boxes(NAN)]),
    ]
    found = summarise_outputs(runs)
    assert list(found) == ["logits", "boxes"]
    logits = found["logits"]
    assert (logits["max_abs"], logits["relative"], logits["agreement"]) == (0.5, 0.2, 0.8)
    assert (logits["role"], logits["images"]) == ("logits", 10)
    assert math.isnan(found["boxes"]["max_abs"])
    assert math.isnan(found["boxes"]["agreement"])
    others = summarise_others(runs)
    assert list(others) == ["boxes"]
    assert set(others["boxes"]) == {"max_abs", "relative"}
