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


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value
