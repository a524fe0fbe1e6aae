"""Learning curves: a table and a picture, rewritten after every epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from edgevit.base.errors import needed
from edgevit.base.figures import write_figure
from edgevit.base.files import write_whole


def write_log(folder: Path, log: list[dict[str, Any]]) -> None:
    """Writes log.csv, one row an epoch."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(log[0]))
    writer.writeheader()
    writer.writerows(log)
    write_whole(folder / "log.csv", stream.getvalue().encode())


def draw_curves(folder: Path, log: list[dict[str, Any]], title: str) -> None:
    """Draws loss and accuracy over the epochs as curves.png.

    Args:
        folder: of the run.
        log: one dict an epoch, with epoch, loss, train_top1, validation_top1.
        title: of the picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with needed("matplotlib", "pictures", "Drawing learning curves"):
        from matplotlib.figure import Figure
    epochs = [row["epoch"] for row in log]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in log], color="#2f6f9f", marker=".")
    left.set(xlabel="epoch", ylabel="training loss", title=f"{title}: loss")
    curves = {
        "train_top1": ("#b0b0b0", "training (augmented images, live weights)"),
        "validation_top1": ("#2f6f9f", "validation (averaged weights)"),
    }
    for key, (color, label) in curves.items():
        right.plot(epochs, [row[key] for row in log], color=color, label=label, marker=".")
    right.set(xlabel="epoch", ylabel="top-1 accuracy, %", title=f"{title}: accuracy")
    right.legend(loc="lower right", fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    write_figure(figure, folder / "curves.png", dpi=120)
