"""A sweep for other programs: JSON Lines and CSV, one row a cell."""

from __future__ import annotations

import csv
import io
from typing import Any

from edgevit.base.documents import to_json
from edgevit.core.cells import JudgedCell, SweepReport

COLUMNS = (
    *("model", "target", "state", "accepted", "reason", "file", "size_bytes", "sha256"),
    *("agreement", "relative", "figure", "value", "low", "high", "float_value", "points_lost"),
    *("samples", "latency_ms", "seconds", "peak_bytes"),
)


def describe_cell(cell: JudgedCell) -> dict[str, Any]:
    """The columns of one cell; what was not measured is None."""
    result, quality = cell.result, cell.result.quality
    names = ("figure", "value", "low", "high", "float_value", "points_lost", "samples")
    figures = {name: getattr(quality, name) if quality else None for name in names}
    rounds = sorted(result.latency_ms)
    return {
        "model": result.model,
        "target": result.target,
        "state": str(cell.state),
        "accepted": cell.accepted,
        "reason": "; ".join(cell.reasons),
        "file": f"cells/{result.model}/{result.target}/{result.file}" if result.file else None,
        "size_bytes": result.size_bytes or None,
        "sha256": result.sha256 or None,
        "agreement": result.agreement,
        "relative": result.relative,
        **figures,
        "latency_ms": rounds[len(rounds) // 2] if rounds else None,
        "seconds": round(result.seconds, 3),
        "peak_bytes": result.peak_bytes or None,
    }


def render_lines(report: SweepReport) -> str:
    """JSON Lines: a cell a line, with its operators."""
    rows = ({**describe_cell(cell), "operators": cell.result.operators} for cell in report.cells)
    return "".join(to_json(row) + "\n" for row in rows)


def render_csv(report: SweepReport) -> str:
    """CSV with the columns of COLUMNS; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in report.cells:
        row = describe_cell(cell)
        writer.writerow({name: "" if row[name] != row[name] else row[name] for name in COLUMNS})
    return stream.getvalue()
