"""A report as one HTML page: nothing is loaded from anywhere, and no script runs."""

from __future__ import annotations

from collections import Counter

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgevit.base.versions import installed_version
from edgevit.core.report import Report
from edgevit.reports import view
from edgevit.reports.scatter import place_scatter

WIDE, NARROW = (1020, 440), (340, 360)  # pixels


def open_templates() -> Environment:
    """The page's templates, which escape every text that they show."""
    templates = Environment(
        loader=PackageLoader("edgevit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    templates.filters["px"] = lambda value: f"{value:.1f}"
    return templates


def draw_scatter(plot: view.Plot, width: int, height: int) -> Markup:
    """The plot as an ``<svg>`` element whose looks are in the page's CSS classes.

    Args:
        plot: at least one point.
        width: of the drawing, pixels.
        height: likewise.
    """
    template = open_templates().get_template("scatter.svg.j2")
    placed = place_scatter(plot.points, width, height)
    return Markup(template.render(x_label=plot.x_label, y_label=plot.y_label, **placed))


def render_html(report: Report) -> str:
    """The whole page."""
    templates = open_templates()
    assert templates.loader
    style, _, _ = templates.loader.get_source(templates, "report.css")
    plot = view.choose_plot(report)
    return templates.get_template("report.html.j2").render(
        report=report,
        version=installed_version("edgevit") or "",
        style=Markup(style),
        columns=view.shown_columns(report),
        largest=max(file.size_bytes for file in report.files) or 1,
        tally=_tally(report),
        plot=plot,
        machine=view.machine_text(report),
        any_parity=any(file.parity for file in report.files),
        any_recalled=any(file.at_export for file in report.files),
        any_intact=any(view.verdict_text(file) == "intact" for file in report.files),
        any_accuracy=any(file.accuracy for file in report.files),
        any_latency=any(file.latency for file in report.files),
        any_roofline="Roofline" in (column.title for column in view.shown_columns(report)),
        view=view,
        plot_wide=draw_scatter(plot, *WIDE) if plot else "",
        plot_narrow=draw_scatter(plot, *NARROW) if plot else "",
    )


def _tally(report: Report) -> list[tuple[str, str, int]]:
    """(look, label, count) of each verdict, the failures first."""
    counts = Counter((view.verdict_kind(file), view.verdict_text(file)) for file in report.files)
    order = ("bad", "open", "good")
    rows = [(kind, label, count) for (kind, label), count in counts.items()]
    return sorted(rows, key=lambda row: (order.index(row[0]), row[1]))
