"""``edgevit benchmark --baseline``: the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.cli import console

if TYPE_CHECKING:
    from edgevit.bench.gating import GateReport, RecordedReport
    from edgevit.core.measurements import BenchmarkCase

CODES = {"ok": 0, "inconclusive": 3, "slower": 1}  # the last verdict of any row wins
ORDER = list(CODES)


def run_gates(
    cases: list[BenchmarkCase],
    baseline: Path,
    max_slowdown: float,
    out: Path | None,
    as_json: bool,
    rounds: int | None,
    seed: int,
    limit_s: float,
) -> int:
    """Gates each case, answers, and returns the exit code."""
    from edgevit.base.documents import to_json
    from edgevit.bench.baseline import find_baselines
    from edgevit.bench.gate import gate_baseline
    from edgevit.bench.gating import make_rule

    rule = make_rule(max_slowdown, rounds)
    pairs = find_baselines(cases, baseline)
    reports: list[GateReport | RecordedReport] = []
    with console.working(still=True) as work:

        def show(done: int, most: int, ratio: Any) -> None:
            name = Path(pairs[len(reports)].candidate.file).name
            work.status(f"gating {name}")
            work.advance(done, most)
            work.show([{"file": name, **_ratio(ratio.middle, (ratio.low, ratio.high))}])

        for pair in pairs:
            reports.append(gate_baseline(pair, rule, str(baseline), seed, limit_s, show))
    rows = [_row(report) for report in reports]
    document = {
        "verdict": max((row["verdict"] for row in rows), key=ORDER.index),
        "rows": rows,
    }
    if out is not None:
        from edgevit.base.files import write_whole

        write_whole(out, (to_json({"kind": "edgevit.gate", "reports": reports}) + "\n").encode())
    console.answer(document, as_json, lambda: _text(rows))
    return CODES[document["verdict"]]


def _row(report: GateReport | RecordedReport) -> dict[str, Any]:
    from edgevit.bench.gating import GateReport

    ratio = report.ratio
    found: dict[str, Any] = {
        "verdict": str(report.verdict),
        "ratio": ratio.middle,
        "interval": [ratio.low, ratio.high],
    }
    if isinstance(report, GateReport):
        return found | {
            "file": report.head,
            "base": report.base,
            "runtime": report.runtime,
            "threads": report.threads,
            "max_slowdown": report.rule.max_slowdown,
            "rounds": report.rounds,
            "processes": report.processes_each,
            "faster": report.faster,
            "how": f"{report.rounds} rounds, {report.processes_each} processes each",
        }
    return found | {
        "file": report.head.case.file,
        "base": report.base.case.file,
        "runtime": report.head.case.runtime,
        "threads": report.head.case.threads,
        "max_slowdown": report.max_slowdown,
        "how": f"recorded times; the machine now takes {report.speed_ratio:.3f} of what it took",
    }


def _text(rows: list[dict[str, Any]]) -> str:
    cells = [
        {
            "file": console.shown_path(Path(row["file"])),
            "runtime": row["runtime"],
            "threads": str(row["threads"]),
            "verdict": row["verdict"] + (" (faster)" if row.get("faster") else ""),
            **_ratio(row["ratio"], row["interval"]),
            "limit": f"{1 + row['max_slowdown']:.3f}",
            "how": row["how"],
        }
        for row in rows
    ]
    return console.table(cells, words=("file", "runtime", "verdict", "how"))


def _ratio(middle: float, interval: Sequence[float]) -> dict[str, str]:
    return {"ratio": f"{middle:.3f}", "interval": f"{interval[0]:.3f} .. {interval[1]:.3f}"}
