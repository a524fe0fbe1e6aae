"""``edgevit sweep``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options

if TYPE_CHECKING:
    from edgevit.core.cells import SweepReport
    from edgevit.sweeps.jobs import Event

GIGABYTE = 10**9


@click.command()
@click.argument("plan", type=options.PATH)
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="Folder of the results.  [default: sweeps/<plan> here]",
)
@click.option(
    "--against",
    type=options.PATH,
    metavar="DIR",
    help="Results of another sweep: name what changed since.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Cells whose MODEL/TARGET, or model, fits. Repeatable.",
)
@click.option("--jobs", type=options.COUNT, help="Processes at once.  [default: one for each core]")
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="Of all processes together.  [default: what is free]",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Send the cells to a Ray cluster: its address, 'auto' for the one of this machine.",
)
@click.option("--again", is_flag=True, help="Try cells once more whose process died.")
@options.as_json
def sweep(
    plan: Path,
    out: Path | None,
    against: Path | None,
    only: tuple[str, ...],
    jobs: int | None,
    memory: float | None,
    ray: str | None,
    again: bool,
    as_json: bool,
) -> None:
    """Export and verify many models in many targets, as PLAN says, and keep the results.

    PLAN is a TOML file. Each cell (a model in a target) is known by the digests of its weights,
    options, data and tools: a second run does only what changed, a killed one goes on, and two at
    once share the work. A cell that crashes, hangs or takes too much memory is a row with its
    reason. The folder holds report.html, results.jsonl, results.csv and the files.

    The exit code is 0 only if every cell is what the plan asks for and nothing became worse.

    \b
    edgevit sweep plans/networks.toml
    edgevit sweep nightly.toml --jobs 4 --against last-night
    edgevit sweep nightly.toml --only 'shiftvit*/tflite-*'
    edgevit sweep nightly.toml --ray ray://head:10001
    """
    from edgevit.verbs.sweep import PAGE
    from edgevit.verbs.sweep import sweep as run

    with console.working() as work:
        shown = _Shown(work)
        report = run(
            plan,
            out,
            against=against,
            only=only,
            jobs=jobs or 0,
            memory_bytes=None if memory is None else int(memory * GIGABYTE),
            executor="local" if ray is None else "ray",
            address=ray or "",
            again=again,
            watch=shown.take,
        )
    place = (out or Path("sweeps") / plan.stem) / PAGE
    console.answer(_document(report, place), as_json, lambda: _text(report, place))
    if not report.right:
        sys.exit(1)


class _Shown:
    """What is being done, as a table above a bar; a line for each finished cell elsewhere."""

    def __init__(self, work: Any):
        self._work = work
        self._running: dict[str, dict[str, Any]] = {}
        self._tally: Counter[str] = Counter()

    def take(self, event: Event, done: int, total: int) -> None:
        """Takes in an event."""
        if event.kind in ("done", "died"):
            self._running.pop(event.task, None)
            state = str(event.document.get("outcome", event.state))
            self._tally[state] += 1
            self._work.status(f"{event.task}: {state} ({done} of {total})")
        else:
            row = self._running.setdefault(event.task, {"began": time.monotonic()})
            row |= {"line": event.line, "where": event.where}
        self._work.advance(done, total)
        self._work.show(self._rows())

    def _rows(self) -> list[dict[str, str]]:
        now = time.monotonic()
        rows = [
            {
                "cell": name,
                "where": row["where"],
                "s": f"{now - row['began']:.0f}",
                "what": row["line"],
            }
            for name, row in self._running.items()
        ]
        tally = ", ".join(f"{count} {state}" for state, count in self._tally.items())
        return [*rows, {"cell": tally, "where": "", "s": "", "what": ""}]


def _document(report: SweepReport, place: Path) -> dict[str, Any]:
    from edgevit.reports.sweep_tables import describe_cell

    return {
        "page": place,
        "title": report.title,
        "ran": report.ran,
        "seconds": round(report.seconds, 2),
        "right": report.right,
        "cells": [describe_cell(cell) for cell in report.cells],
        "changes": None if report.changes is None else list(report.changes),
    }


def _text(report: SweepReport, place: Path) -> str:
    counts = Counter(str(cell.state) for cell in report.cells)
    tally = ", ".join(f"{count} {state}" for state, count in counts.items())
    rows = [
        {
            "cell": f"{cell.result.model}/{cell.result.target}",
            "state": str(cell.state),
            "why": "; ".join(cell.reasons),
        }
        for cell in report.cells
        if not cell.accepted
    ]
    lines = [console.table(rows)] if rows else []
    for change in report.changes or ():
        mark = console.paint("warning:") if change.worse else "changed:"
        lines.append(f"{mark} {change.model}/{change.target}, {change.kind}: {change.text}")
    if report.changes == ():
        lines.append(f"nothing changed since {report.against}")
    lines.append(
        f"{len(report.cells)} cells: {tally}; {report.ran} ran now, in {report.seconds:.0f} s"
    )
    lines.append(console.shown_path(place))
    return "\n".join(lines)
