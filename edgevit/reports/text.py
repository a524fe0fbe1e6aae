"""Results as figures and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import Measurement
from edgevit.core.parity import OWN, SYNTHETIC, ParityReport


def summarise_parity(reports: Sequence[ParityReport]) -> dict[str, float]:
    """The worst figure over several runs of one file: what its verdict rests on.

    Runs on the user's own samples stand for the file where there are any.

    Returns:
        max_abs, mean_abs, relative: largest of the first output, NaN if any is. top1_agreement:
        smallest; NaN where it tells no classes apart.
    """
    reports = judging_runs(reports)
    worst = {
        name: max(
            (getattr(report, name) for report in reports), key=_nan_last, default=float("nan")
        )
        for name in ("max_abs", "mean_abs", "relative")
    }
    worst["top1_agreement"] = min((report.top1_agreement for report in reports), default=0.0)
    return worst


def judging_runs(reports: Sequence[ParityReport]) -> list[ParityReport]:
    """The runs that say what a file costs: on the user's own samples, else on synthetic ones."""
    own = [report for report in reports if report.samples == OWN]
    return own or [report for report in reports if report.samples == SYNTHETIC]


def summarise_others(reports: Sequence[ParityReport]) -> dict[str, dict[str, float]]:
    """The worst figures of each output beside the first, over several runs of one file.

    Returns:
        {output: {"max_abs", "relative"}}; empty where there is no such output.
    """
    return {
        name: {key: figures[key] for key in ("max_abs", "relative")}
        for name, figures in summarise_outputs(reports).items()
        if name in {other.name for report in reports for other in report.others}
    }


def summarise_outputs(reports: Sequence[ParityReport]) -> dict[str, dict[str, Any]]:
    """The worst figures of each output, over several runs of one file.

    Returns:
        {output: {"role", "images", "max_abs", "error", "relative", "agreement", "low",
        "high", "constant", "one_sided"}}, in the model's order.
    """
    found: dict[str, dict[str, Any]] = {}
    for output in (output for report in judging_runs(reports) for output in report.outputs):
        figures = found.setdefault(
            output.name,
            {"role": str(output.role), "images": output.images, "agreement": np.nan}
            | dict.fromkeys(("max_abs", "error", "relative"), 0.0)
            | {"low": np.nan, "high": np.nan, "constant": False, "one_sided": False},
        )
        for key in ("max_abs", "error", "relative"):
            figures[key] = max(figures[key], getattr(output, key), key=_nan_last)
        figures["constant"] |= output.constant
        figures["one_sided"] |= output.one_sided
        if not output.agreement >= figures["agreement"]:
            figures |= {key: getattr(output, key) for key in ("agreement", "low", "high")}
    return found


def summarise_benchmark(result: BenchmarkResult) -> list[dict[str, Any]]:
    """One plain dict for each row of a benchmark; figures that do not exist are None."""
    return [_summarise_row(result, row) for row in result.rows]


def _summarise_row(result: BenchmarkResult, row: Measurement) -> dict[str, Any]:
    found: dict[str, Any] = {
        "file": row.case.file,
        "runtime": row.case.runtime,
        "threads": row.case.threads,
        "device": row.case.device,
        "batch": row.batch or row.case.batch,
        "failure": row.failure,
        "samples": sum(map(len, row.latency_ns)),
        "settled": row.settled,
        "cold_start_ms": row.cold_start_ms if row.first_ns else None,
        "import_ms": row.import_ns / 1e6 if row.first_ns else None,
        "peak_bytes": row.peak_bytes or None,
        "added_bytes": row.peak_bytes - row.idle_bytes if row.peak_bytes else None,
    }
    empty = ("median_ms", "interval_ms", "p95_ms", "mad_ms", "images_per_second", "ratio")
    found |= dict.fromkeys((*empty, "ratio_interval"))
    if row.measured:
        found |= {
            "median_ms": row.median_ms.middle,
            "interval_ms": [row.median_ms.low, row.median_ms.high],
            "p95_ms": row.p95_ms,
            "mad_ms": row.mad_ms,
            "images_per_second": row.images_per_second,
        }
    if row.instructions is not None:
        found |= {
            "instructions": row.instructions.per_inference,
            "instructions_failure": row.instructions.failure,
        }
    if result.roofline is not None:
        found |= _summarise_limit(result, row)
    ratio = result.ratio(row)
    if ratio is not None:
        found |= {"ratio": ratio.middle, "ratio_interval": [ratio.low, ratio.high]}
    return found


def _summarise_limit(result: BenchmarkResult, row: Measurement) -> dict[str, Any]:
    assert result.roofline is not None
    work = result.roofline.works[result.rows.index(row)]
    limit = result.limit(row)
    known = limit is not None and row.measured
    return {
        "macs": work.total_macs if work else None,
        "bytes": work.total_bytes if work else None,
        "uncounted": list(work.uncounted) if work else None,
        "limit_ms": limit.milliseconds if limit else None,
        "bound": limit.bound if limit else None,
        "share_of_limit": limit.milliseconds / row.median_ms.middle if limit and known else None,
    }


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value
