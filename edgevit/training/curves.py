"""Learning curves as a picture."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path

from edgevit.base.errors import MissingDependencyError
from edgevit.base.files import write_whole


def draw_curves(log: list[dict], path: Path, title: str) -> None:
    """Draws loss and accuracy over the epochs; a dashed line marks a change of image size.

    Args:
        log: one dict an epoch, with epoch, image_size, loss, train_top1, validation_top1.
        path: a .png file.
        title: of the picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "train", "Drawing learning curves") from None
    epochs = [row["epoch"] for row in log]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in log], color="#2f6f9f")
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy)", title=f"{title}: loss")
    right.plot(
        epochs,
        [row["train_top1"] for row in log],
        color="#b0b0b0",
        label="training (augmented images, live weights)",
    )
    right.plot(
        epochs,
        [row["validation_top1"] for row in log],
        color="#2f6f9f",
        label="validation (averaged weights)",
    )
    right.set(xlabel="epoch", ylabel="top-1 accuracy, %", title=f"{title}: accuracy")
    right.legend(loc="lower right", fontsize=8)
    for before, after in pairwise(log):
        if before["image_size"] != after["image_size"]:
            for axes in (left, right):
                axes.axvline(before["epoch"] + 0.5, color="#888888", linestyle="--", linewidth=0.8)
            right.annotate(
                f"{before['image_size']} to {after['image_size']} px",
                (before["epoch"] + 0.4, right.get_ylim()[0]),
                ha="right",
                va="bottom",
                fontsize=8,
            )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    stream = BytesIO()
    figure.savefig(stream, dpi=120, metadata={"Software": None})
    write_whole(path, stream.getvalue())
