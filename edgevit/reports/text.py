"""Results as figures and lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from edgevit.core.results import ParityReport


def summarise_parity(reports: Sequence[ParityReport]) -> dict[str, float]:
    """The worst figure over several runs of one file: what its verdict rests on.

    Returns:
        max_abs, mean_abs, relative: largest, NaN if any is. top1_agreement: smallest.
    """
    worst = {
        name: max(
            (getattr(report, name) for report in reports), key=_nan_last, default=float("nan")
        )
        for name in ("max_abs", "mean_abs", "relative")
    }
    worst["top1_agreement"] = min((report.top1_agreement for report in reports), default=0.0)
    return worst


def summarise_others(reports: Sequence[ParityReport]) -> dict[str, dict[str, float]]:
    """The worst figures of each output beside the logits, over several runs of one file.

    Returns:
        {output: {"max_abs", "relative"}}; empty where there is no such output.
    """
    names = {other.name for report in reports for other in report.others}
    found = {}
    for name in sorted(names):
        parts = [other for report in reports for other in report.others if other.name == name]
        found[name] = {
            "max_abs": max((part.max_abs for part in parts), key=_nan_last),
            "relative": max((part.relative for part in parts), key=_nan_last),
        }
    return found


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value
