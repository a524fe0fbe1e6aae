"""The error of a file through its network, as a picture."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.errors import needed
from edgevit.base.figures import write_figure
from edgevit.core.layer_errors import SUSPECT_DB, LayerDiff

ADDED, TOTAL, SUSPECT, TEXT, QUIET = "#2f6f9f", "#9aa5b1", "#c0392b", "#1d2733", "#6b7785"
MOST = 150.0  # decibels; what is above is drawn here: float32 ends there


def draw_layers(found: LayerDiff, path: Path) -> None:
    """Writes one row a layer, the first on top: signal to noise, and what is beyond expectation.

    Args:
        found: what was measured.
        path: .png, .svg or .pdf.

    Raises:
        ConfigError: another kind of file.
        MissingDependencyError: matplotlib is not installed.
        OutputError: it cannot be written.
    """
    with needed("matplotlib", "pictures", "A picture"):
        from matplotlib.figure import Figure
    rows = found.layers
    places = range(len(rows))
    figure = Figure(figsize=(11, 1.8 + 0.2 * len(rows)), layout="constrained")
    noise, beyond = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    colours = [SUSPECT if row.excess_db > SUSPECT_DB else ADDED for row in rows]
    noise.plot(
        [_decibels(row.total_sqnr_db) for row in rows],
        places,
        color=TOTAL,
        marker=".",
        label="the file so far",
    )
    noise.scatter(
        [_decibels(row.sqnr_db) for row in rows],
        places,
        c=colours,
        s=22,
        zorder=3,
        label="this layer alone",
    )
    noise.set_yticks(places, [row.layer for row in rows], fontsize=7, color=TEXT)
    noise.set_xlabel("signal to noise, dB (more is better)", color=QUIET)
    noise.legend(fontsize=8, frameon=False)
    noise.invert_yaxis()
    beyond.barh(places, [max(row.excess_db, 0.0) for row in rows], color=colours, height=0.7)
    beyond.axvline(SUSPECT_DB, color=QUIET, linewidth=0.8, linestyle="--")
    beyond.set_xlabel("dB beyond what its precision and its like explain", color=QUIET)
    for axes in (noise, beyond):
        axes.tick_params(axis="both", length=0, labelsize=7)
        axes.grid(axis="x", color="#e4e8ec", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    figure.suptitle(
        f"{found.file} against float Keras, {found.images} {found.source}",
        fontsize=11,
        color=TEXT,
        x=0.01,
        ha="left",
    )
    write_figure(figure, path, dpi=130)


def _decibels(value: float | None) -> float:
    return MOST if value is None else max(-20.0, min(MOST, value))
