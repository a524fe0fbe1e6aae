"""Maps over a picture, as one PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.attribution.maps import Map
from edgevit.base.errors import needed
from edgevit.base.figures import write_figure


@dataclass(frozen=True)
class Explanation:
    """Why a network gave its answer for one picture.

    Attributes:
        image: uint8 H W 3, as the network saw it.
        label: its answer.
        probability: of that answer, in [0, 1].
        method: "attention", "gates", "modulator" or "occlusion".
        maps: what to draw over the picture.
    """

    image: np.ndarray
    label: str
    probability: float
    method: str
    maps: tuple[Map, ...]


def draw_explanation(explanation: Explanation, path: Path, title: str) -> None:
    """Draws the picture and each map over a grey copy of it, side by side.

    Args:
        explanation: what to draw.
        path: a .png file; appears whole.
        title: of the whole, such as the model's and the picture's name.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with needed("matplotlib", "pictures", "Drawing an explanation"):
        from matplotlib.figure import Figure
    panels = len(explanation.maps) + 1
    figure = Figure(figsize=(2.6 * panels + 0.4, 3.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, panels))
    rows, columns = explanation.image.shape[:2]
    extent = (0, columns, rows, 0)  # pixels; the origin is the top left corner
    answer = f"{explanation.label}, {100 * explanation.probability:.0f} %"
    axes[0].imshow(explanation.image, extent=extent, interpolation="nearest")
    axes[0].set_title(answer, fontsize=9)
    grey = explanation.image.astype(np.float32).mean(axis=-1)
    for axis, drawn in zip(axes[1:], explanation.maps, strict=True):
        axis.imshow(grey, cmap="gray", extent=extent, vmin=0, vmax=255, interpolation="nearest")
        shown = axis.imshow(
            drawn.values,
            cmap="inferno" if drawn.limit is None else "RdBu_r",
            vmin=None if drawn.limit is None else -drawn.limit,
            vmax=drawn.limit,
            alpha=0.6,
            extent=extent,
            interpolation="bilinear",
        )
        bar = figure.colorbar(shown, ax=axis, shrink=0.72, pad=0.02)
        bar.ax.tick_params(labelsize=6)
        axis.set_title(drawn.title, fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(f"{title}: {explanation.method}", fontsize=10)
    write_figure(figure, path, dpi=110)
