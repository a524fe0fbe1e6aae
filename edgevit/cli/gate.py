"""``edgevit benchmark --baseline``: the gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.cli import console

if TYPE_CHECKING:
    from edgevit.bench.gating import GateReport, RecordedReport
    from edgevit.core.measurements import BenchmarkCase

CODES = {"ok": 0, "slower": 1, "inconclusive": 3}  # the first of slower, inconclusive, ok wins
COLUMNS = ["file", "runtime", "threads", "verdict", "ratio", "interval", "limit", "how"]


def run_gates(
    cases: list[BenchmarkCase],
    baseline: Path,
    max_slowdown: float,
    rounds: int | None,
    seed: int,
    time_limit: float,
    out: Path | None,
    as_json: bool,
) -> int:
    """Gates each case, answers, and returns the exit code."""
    from edgevit.base.documents import to_json
    from edgevit.bench.baseline import find_baselines
    from edgevit.bench.gate import gate_baseline
    from edgevit.bench.gating import make_rule

    rule = make_rule(max_slowdown, rounds)
    pairs = find_baselines(cases, baseline)
    reports: list[GateReport | RecordedReport] = []
    with console.live_table() as table:

        def show(done: int, most: int, ratio: Any) -> None:
            name = Path(pairs[len(reports)].candidate.file).name
            cells = [[name, f"{ratio.middle:.3f}", f"{ratio.low:.3f} .. {ratio.high:.3f}"]]
            table.show(f"gating {name}", f"{done} of at most {most} rounds", SHOWN, cells)

        for pair in pairs:
            reports.append(gate_baseline(pair, rule, str(baseline), seed, time_limit, show))
    rows = [_row(report) for report in reports]
    document = {
        "verdict": max((row["verdict"] for row in rows), key=["ok", *_WORSE].index),
        "rows": rows,
    }
    if out is not None:
        from edgevit.base.files import write_whole

        write_whole(out, (to_json({"kind": "edgevit.gate", "reports": reports}) + "\n").encode())
    console.answer(document, as_json, lambda: _text(rows))
    return CODES[document["verdict"]]


_WORSE = ["inconclusive", "slower"]
SHOWN = ["file", "ratio", "interval"]


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
        [
            console.shown_path(Path(row["file"])),
            row["runtime"],
            str(row["threads"]),
            row["verdict"] + (" (faster)" if row.get("faster") else ""),
            f"{row['ratio']:.3f}",
            f"{row['interval'][0]:.3f} .. {row['interval'][1]:.3f}",
            f"{1 + row['max_slowdown']:.3f}",
            row["how"],
        ]
        for row in rows
    ]
    return console.table(COLUMNS, cells, right=("threads", "ratio", "interval", "limit"))
