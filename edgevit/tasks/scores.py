"""How far a model's outputs are from the truth, by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevit.base.errors import DataError
from edgevit.core.signature import OutputSpec
from edgevit.tasks.classification import class_name
from edgevit.tasks.measures import count_overlaps, decide, mean_of_overlaps


@dataclass(frozen=True)
class Score:
    """Figures over labelled samples.

    Attributes:
        figures: by name, the one that a budget trades first.
        rows: figures of each class or quantity, by its name.
    """

    figures: dict[str, float]
    rows: dict[str, dict[str, float]]


def score_values(found: np.ndarray, truth: np.ndarray, columns: Sequence[str]) -> Score:
    """Errors of measured quantities, each in its own unit.

    Args:
        found: float N K.
        truth: float N K.
        columns: names of the K quantities.

    Returns:
        ``r2`` (coefficient of determination, the mean over columns), and ``r2``, ``mae`` and
        ``rmse`` of each column.

    Raises:
        DataError: another number of columns than the model has.
    """
    if found.shape != truth.shape:
        raise DataError(
            f"the table holds {truth.shape[-1]} columns of values ({', '.join(columns)}), and the "
            f"model returns {found.shape[-1]}."
        )
    error = found.astype(np.float64) - truth
    spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    lost = np.square(error).sum(axis=0)
    r2 = 1 - np.divide(lost, spread, out=np.full_like(lost, np.inf), where=spread > 0)
    rows = {
        name: {
            "r2": float(r2[place]),
            "mae": float(np.abs(error[:, place]).mean()),
            "rmse": float(np.sqrt(np.square(error[:, place]).mean())),
        }
        for place, name in enumerate(columns)
    }
    return Score({"r2": float(r2.mean())}, rows)


def score_labels(
    found: np.ndarray, truth: np.ndarray, columns: Sequence[str], output: OutputSpec
) -> Score:
    """Several labels at once, each yes or no.

    Args:
        found: float N K, of the model.
        truth: N K of 0 and 1.
        columns: names of the K labels.
        output: that the numbers are of.

    Returns:
        ``accuracy`` (share of right decisions), ``exact`` (share of samples with all of them
        right), ``f1`` (mean over labels); of each label ``accuracy``, ``precision``, ``recall`` and
        ``f1``.

    Raises:
        DataError: another number of columns than the model has, or a value that is neither 0 nor 1.
    """
    if found.shape != truth.shape:
        raise DataError(
            f"the table holds {truth.shape[-1]} columns of labels ({', '.join(columns)}), and the "
            f"model returns {found.shape[-1]}."
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError("labels are 0 or 1. For measured quantities give --task regression.")
    limit = 0.5 if output.activation != "linear" else 0.0
    chosen, wanted = found > limit, truth.astype(bool)
    rows = {}
    for place, name in enumerate(columns):
        ours, theirs = chosen[:, place], wanted[:, place]
        both = float((ours & theirs).sum())
        precision, recall = both / max(1, ours.sum()), both / max(1, theirs.sum())
        rows[name] = {
            "accuracy": float((ours == theirs).mean()),
            "precision": float(precision),
            "recall": float(recall),
            "f1": 2 * both / max(1, int(ours.sum() + theirs.sum())),
        }
    same = chosen == wanted
    figures = {
        "accuracy": float(same.mean()),
        "exact": float(same.all(axis=1).mean()),
        "f1": float(np.mean([row["f1"] for row in rows.values()])),
    }
    return Score(figures, rows)


def score_masks(
    found: np.ndarray, truth: np.ndarray, output: OutputSpec, names: tuple[str, ...]
) -> Score:
    """Overlap of every class's pixels.

    Args:
        found: float N H W C, of the model.
        truth: int N H W; -1 where a pixel does not count.
        output: that the numbers are of.
        names: of the classes.

    Returns:
        ``mean_iou`` over the classes that occur, and ``pixel_accuracy``; of each class ``iou``.
    """
    chosen = decide(found, output)
    if chosen.dtype == bool:  # one channel: the foreground or not
        chosen = chosen[..., 0].astype(np.int64)
    classes = max(2, output.shape[-1] or 2)
    valid = truth >= 0
    overlaps = count_overlaps(chosen, truth, classes, valid)
    both, either = overlaps.sum(axis=0)
    rows = {
        class_name(label, names): {"iou": float(both[label] / either[label])}
        for label in range(classes)
        if either[label] > 0
    }
    right = float((chosen == truth)[valid].mean()) if valid.any() else float("nan")
    return Score({"mean_iou": mean_of_overlaps(overlaps), "pixel_accuracy": right}, rows)
