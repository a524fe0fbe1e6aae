"""A sweep as one HTML page: a matrix of models and targets, and all that is not right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from markupsafe import Markup

from edgevit.base.versions import installed_version
from edgevit.core.cells import JudgedCell, State, SweepReport
from edgevit.reports.page import open_templates
from edgevit.reports.view import megabytes

LOOKS = {State.PASS: "good", State.LOSSY: "open", State.REFUSED: "open", State.MISSING: "open"}


@dataclass(frozen=True)
class Square:
    """One cell of the matrix.

    Attributes:
        label: its state.
        look: "good", "open" or "bad".
        link: the file beside the page; empty where there is none.
        figures: lines below the state.
        title: the whole story, for a pointer that rests on it.
    """

    label: str
    look: str
    link: str
    figures: tuple[str, ...]
    title: str


def draw_square(cell: JudgedCell) -> Square:
    """A cell as the matrix shows it."""
    result, quality = cell.result, cell.result.quality
    figures = [megabytes(result.size_bytes)] if result.size_bytes else []
    if quality is not None and quality.value == quality.value:
        figures.append(f"{100 * quality.value:.2f} ({0.0 - quality.points_lost:+.2f})")
    if result.agreement == result.agreement:
        figures.append(f"{100 * result.agreement:.1f} %")
    link = f"cells/{result.model}/{result.target}/{result.file}" if result.file else ""
    return Square(str(cell.state), look_of(cell), link, tuple(figures), "; ".join(cell.reasons))


def look_of(cell: JudgedCell) -> str:
    """Colour of a cell: what was asked for is never bad."""
    look = LOOKS.get(cell.state, "bad")
    return "open" if look == "bad" and cell.accepted else look


def render_sweep(report: SweepReport) -> str:
    """The whole page; it loads nothing and runs no script."""
    templates = open_templates()
    assert templates.loader
    style, _, _ = templates.loader.get_source(templates, "report.css")
    squares = {(c.result.model, c.result.target): draw_square(c) for c in report.cells}
    rows = [(m, [squares.get((m, target)) for target in report.targets]) for m in report.models]
    return templates.get_template("sweep.html.j2").render(
        report=report,
        version=installed_version("edgevit") or "",
        style=Markup(style),
        rows=rows,
        tally=_tally(report),
        wrong=[cell for cell in report.cells if not cell.accepted],
        look_of=look_of,
        figure=next((c.result.quality.figure for c in report.cells if c.result.quality), ""),
        samples=sorted({c.result.quality.samples for c in report.cells if c.result.quality}),
    )


def _tally(report: SweepReport) -> list[tuple[str, str, int]]:
    """(look, state, count), the worst first."""
    counts = Counter((look_of(cell), str(cell.state)) for cell in report.cells)
    order = ("bad", "open", "good")
    rows = [(look, label, count) for (look, label), count in counts.items()]
    return sorted(rows, key=lambda row: (order.index(row[0]), row[1]))
