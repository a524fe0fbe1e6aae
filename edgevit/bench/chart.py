"""Bars of a profile, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevit.base.errors import needed
from edgevit.base.figures import write_figure
from edgevit.bench.profile import ProfileRow

BAR, TEXT, QUIET = "#2f6f9f", "#1d2733", "#6b7785"


def draw_profile(rows: Sequence[ProfileRow], rest: Sequence[ProfileRow], title: str, path: Path):
    """Writes horizontal bars, the slowest on top.

    Args:
        rows: one bar each.
        rest: rows that share one more bar at the bottom.
        title: above the bars.
        path: .png, .svg or .pdf.

    Raises:
        ConfigError: another kind of file.
        MissingDependencyError: matplotlib is not installed.
        OutputError: it cannot be written.
    """
    with needed("matplotlib", "pictures", "A chart"):
        from matplotlib.figure import Figure
    bars = [(row.name, row.time_us, row.share, BAR) for row in rows]
    if rest:
        time_us, share = sum(row.time_us for row in rest), sum(row.share for row in rest)
        bars.append((f"{len(rest)} more", time_us, share, QUIET))
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(bars))
    axes.barh(places, [bar[1] for bar in bars], color=[bar[3] for bar in bars], height=0.7)
    axes.set_yticks(places, [bar[0] for bar in bars], color=TEXT)
    axes.invert_yaxis()
    widest = max((bar[1] for bar in bars), default=1.0) or 1.0
    for place, (_, time_us, share, _) in zip(places, bars, strict=True):
        label = f" {time_us:,.0f} µs, {100 * share:.1f} %"
        axes.text(time_us, place, label, va="center", fontsize=9, color=TEXT)
    axes.set_xlim(0, widest * 1.25)
    axes.set_xlabel("microseconds a run", color=QUIET)
    axes.set_title(title, loc="left", fontsize=11, color=TEXT)
    axes.tick_params(axis="both", length=0, labelsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    write_figure(figure, path, dpi=150)
