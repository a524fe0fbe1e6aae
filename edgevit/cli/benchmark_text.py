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

COLUMNS = [
    "file",
    "runtime",
    "thr",
    "batch",
    "median ms",
    "+-",
    "p95",
    "MAD",
    "images/s",
    "cold ms",
    "peak MB",
    "ratio",
    "interval",
]
LIVE_COLUMNS = ["file", "runtime", "threads", "batch", "median ms", "samples", ""]
ROOF_COLUMNS = ["MMAC", "MB moved", "limit ms", "of limit", "bound by"]


def describe_roofs(roofline: Roofline) -> dict[str, Any]:
    """What the machine could do at best, for --json."""
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


def live(rows: Sequence[Measurement]) -> list[list[str]]:
    """Cells of LIVE_COLUMNS, from what is measured so far."""
    import statistics

    return [
        [
            Path(row.case.file).name,
            row.case.runtime,
            str(row.case.threads),
            str(row.batch or row.case.batch or ""),
            f"{statistics.median(row.round_medians_ns) / 1e6:.3f}" if row.measured else "",
            str(sum(map(len, row.latency_ns))),
            "failed" if row.failure else "",
        ]
        for row in rows
    ]


def text(result: BenchmarkResult, summary: list[dict[str, Any]]) -> str:
    """The whole answer for people."""
    lines = [str(result.environment)]
    files = {Path(figures["file"]) for figures in summary}
    brief = len({file.name for file in files}) == len(files)
    rows = [_cells(figures, brief) for figures in summary]
    columns = list(COLUMNS)
    if any("instructions" in figures for figures in summary):
        columns.append("Minstr")
        for cells, figures in zip(rows, summary, strict=True):
            count = figures.get("instructions")
            cells.append("-" if count is None else f"{count / 1e6:.3f}")
    shown = console.table(columns, rows, right=tuple(columns[2:]), least=32)
    lines.append(shown)
    if result.roofline is not None:
        lines += _roofline_text(result, summary, brief)
    return "\n".join(lines)


def _roofline_text(
    result: BenchmarkResult, summary: list[dict[str, Any]], brief: bool
) -> list[str]:
    assert result.roofline is not None
    rows = []
    for row in summary:
        counted = row["macs"] is not None and not row["uncounted"]
        limited = row["share_of_limit"] is not None
        rows.append(
            [
                *_cells(row, brief)[:4],
                f"{row['macs'] / 1e6:.1f}" if counted else "-",
                f"{row['bytes'] / 1e6:.1f}" if counted else "-",
                f"{row['limit_ms']:.3f}" if limited else "-",
                f"{100 * row['share_of_limit']:.0f} %" if limited else "-",
                row["bound"] or ", ".join(row["uncounted"] or ()) or "not counted",
            ]
        )
    columns = [*COLUMNS[:4], *ROOF_COLUMNS]
    lines = [console.table(columns, rows, right=(*COLUMNS[2:4], *ROOF_COLUMNS[:4]), least=32)]
    for roof in result.roofline.roofs:
        case = roof.measurement.case
        rate = f"{roof.macs_per_second / 1e9:.1f} GMAC/s" if roof.measurement.measured else "failed"
        lines.append(
            f"a large {roof.precision} product in {case.runtime}, {case.threads} threads: {rate}"
        )
    for one in result.roofline.bandwidths:
        lines.append(
            f"copying in a working set of {one.working_set_bytes / 1e6:.1f} MB, {one.threads} "
            f"threads: {one.bytes_per_second / 1e9:.1f} GB/s"
        )
    return lines


def _cells(row: dict[str, Any], brief: bool) -> list[str]:
    def number(key: str, form: str = ".3f", scale: float = 1.0) -> str:
        return "-" if row[key] is None else format(row[key] / scale, form)

    if row["median_ms"] is None:
        middle = ["failed" if row["failure"] else "-", "-"]
    else:
        low, high = row["interval_ms"]
        half = 50 * (high - low) / row["median_ms"]
        middle = [("" if row["settled"] else "~") + number("median_ms"), f"{half:.1f} %"]
    low, high = row["ratio_interval"] or (1, 1)
    ends = f"{low:.3f}..{high:.3f}" if low != high else ""
    return [
        Path(row["file"]).name if brief else console.shown_path(Path(row["file"])),
        row["runtime"],
        str(row["threads"]),
        str(row["batch"] or "-"),
        *middle,
        number("p95_ms"),
        number("mad_ms"),
        number("images_per_second", ".1f"),
        number("cold_start_ms", ".1f"),
        number("peak_bytes", ".0f", 1e6),
        number("ratio"),
        ends,
    ]
