"""The answer of ``edgevit benchmark`` as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgevit.core.benchmarks import BenchmarkResult
    from edgevit.core.measurements import Measurement
    from edgevit.core.roofline import Roofline


def describe_roofs(roofline: Roofline) -> dict[str, Any]:
    """The machine's limits, for --json."""
    return {
        "roofs": [
            {
                "runtime": roof.measurement.case.runtime,
                "threads": roof.measurement.case.threads,
                "precision": roof.precision,
                "macs_per_second": roof.macs_per_second if roof.measurement.measured else None,
                "failure": roof.measurement.failure,
            }
            for roof in roofline.roofs
        ],
        "bandwidths": [
            {
                "threads": one.threads,
                "working_set_bytes": one.working_set_bytes,
                "bytes_per_second": one.bytes_per_second,
            }
            for one in roofline.bandwidths
        ],
    }


def live(rows: Sequence[Measurement]) -> list[dict[str, str]]:
    """A table of what is measured so far."""
    import statistics

    return [
        {
            "file": Path(row.case.file).name,
            "runtime": row.case.runtime,
            "threads": str(row.case.threads),
            "batch": str(row.batch or row.case.batch or ""),
            "median ms": (
                f"{statistics.median(row.round_medians_ns) / 1e6:.3f}" if row.measured else ""
            ),
            "samples": str(sum(map(len, row.latency_ns))),
            "": "failed" if row.failure else "",
        }
        for row in rows
    ]


def text(result: BenchmarkResult, summary: list[dict[str, Any]]) -> str:
    """The whole answer for people."""
    files = {Path(figures["file"]) for figures in summary}
    brief = len({file.name for file in files}) == len(files)
    rows = [_name(figures, brief) | _times(figures) for figures in summary]
    if any("instructions" in figures for figures in summary):
        for cells, figures in zip(rows, summary, strict=True):
            count = figures.get("instructions")
            cells["Minstr"] = "-" if count is None else f"{count / 1e6:.3f}"
    lines = [str(result.environment), console.table(rows, words=("file", "runtime"))]
    if result.roofline is not None:
        shares = [_name(figures, brief) | _shares(figures) for figures in summary]
        lines.append(console.table(shares, words=("file", "runtime", "bound by")))
        lines += _roofs(result.roofline)
    return "\n".join(lines)


def _roofs(roofline: Roofline) -> list[str]:
    lines = []
    for roof in roofline.roofs:
        case = roof.measurement.case
        rate = f"{roof.macs_per_second / 1e9:.1f} GMAC/s" if roof.measurement.measured else "failed"
        lines.append(
            f"a large {roof.precision} product in {case.runtime}, {case.threads} threads: {rate}"
        )
    for one in roofline.bandwidths:
        lines.append(
            f"copying in a working set of {one.working_set_bytes / 1e6:.1f} MB, {one.threads} "
            f"threads: {one.bytes_per_second / 1e9:.1f} GB/s"
        )
    return lines


def _name(row: dict[str, Any], brief: bool) -> dict[str, str]:
    return {
        "file": Path(row["file"]).name if brief else console.shown_path(Path(row["file"])),
        "runtime": row["runtime"],
        "thr": str(row["threads"]),
        "batch": str(row["batch"] or "-"),
    }


def _shares(row: dict[str, Any]) -> dict[str, str]:
    counted = row["macs"] is not None and not row["uncounted"]
    limited = row["share_of_limit"] is not None
    return {
        "MMAC": f"{row['macs'] / 1e6:.1f}" if counted else "-",
        "MB moved": f"{row['bytes'] / 1e6:.1f}" if counted else "-",
        "limit ms": f"{row['limit_ms']:.3f}" if limited else "-",
        "of limit": f"{100 * row['share_of_limit']:.0f} %" if limited else "-",
        "bound by": row["bound"] or ", ".join(row["uncounted"] or ()) or "not counted",
    }


def _times(row: dict[str, Any]) -> dict[str, str]:
    def number(key: str, form: str = ".3f", scale: float = 1.0) -> str:
        return "-" if row[key] is None else format(row[key] / scale, form)

    if row["median_ms"] is None:
        median, spread = "failed" if row["failure"] else "-", "-"
    else:
        low, high = row["interval_ms"]
        median = ("" if row["settled"] else "~") + number("median_ms")
        spread = f"{50 * (high - low) / row['median_ms']:.1f} %"
    low, high = row["ratio_interval"] or (1, 1)
    return {
        "median ms": median,
        "+-": spread,
        "p95": number("p95_ms"),
        "MAD": number("mad_ms"),
        "images/s": number("images_per_second", ".1f"),
        "cold ms": number("cold_start_ms", ".1f"),
        "peak MB": number("peak_bytes", ".0f", 1e6),
        "ratio": number("ratio"),
        "interval": f"{low:.3f}..{high:.3f}" if low != high else "",
    }
