"""How far a model's outputs are from the truth, by task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevit.base.errors import DataError
from edgevit.core.class_names import class_name
from edgevit.core.parity import MEASURES as NAMES
from edgevit.core.signature import OutputSpec, Role
from edgevit.tasks.figures import Figure, Outputs, Score, mean_itself
from edgevit.tasks.measures import (
    MEASURES,
    choose_class,
    compare_outputs,
    count_overlaps,
    decide,
    mean_of_overlaps,
    same_integers,
)

TOP = 5
CLOSENESS = "closeness to the float model"
ROWS = 1024  # vectors that are held against all others at once


def score_classes(found: np.ndarray, truth: np.ndarray, output: OutputSpec) -> Score:
    """One class for each sample.

    Args:
        found: float N C, of the model; of a single column, whether it says the second class.
        truth: int N.
        output: that the numbers are of.

    Returns:
        ``top1`` and ``top5``, shares of samples whose class is the likeliest, or among five.

    Raises:
        DataError: a class that the model has not.
    """
    classes = max(2, found.shape[-1])
    if truth.max() >= classes:
        raise DataError(
            f"the data has {truth.max() + 1} classes, where the model tells {classes} apart. Give "
            "data of the model's own classes."
        )
    finite = np.isfinite(found).all(axis=-1)
    right = (choose_class(found, output) == truth) & finite
    near = np.ones(len(found), bool) & finite
    if found.shape[-1] > TOP:
        own = found[np.arange(len(found)), truth][:, None]
        near &= (found > own).sum(axis=-1) < TOP
    figure = Figure("top-1 accuracy", right.astype(np.float64))
    return Score(figure, {"top1": figure.value, "top5": float(near.mean())}, {})


def score_neighbours(found: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> Score:
    """Whether the nearest other sample, by the cosine of vectors, is of the same class.

    Recall@1 of Jegou et al. 2011 ("Product Quantization for Nearest Neighbor Search"), as metric
    learning counts it: every sample asks, all others are the gallery. A class of a single sample
    cannot be found, so that one does not ask.

    Args:
        found: float N D.
        truth: int N, the class of each.
        names: of the classes.

    Returns:
        ``recall_at_1``, and ``chance``, that of vectors that say nothing; ``recall_at_1`` of each
        class.

    Raises:
        DataError: no class has two samples.
    """
    counts = np.bincount(truth, minlength=len(names))
    asking = np.isin(truth, np.flatnonzero(counts > 1))
    if not asking.any():
        raise DataError("a nearest neighbour needs two samples of a class. Received: one of each.")
    vectors = found.reshape(len(found), -1).astype(np.float32)
    finite = np.isfinite(vectors.sum(axis=-1))
    vectors = np.where(finite[:, None], vectors, 0.0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)
    nearest = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), ROWS):
        likeness = vectors[start : start + ROWS] @ vectors.T  # rows N
        places = np.arange(len(likeness))
        likeness[places, start + places] = -np.inf
        nearest[start : start + ROWS] = likeness.argmax(axis=-1)
    hits = np.where(finite, np.equal(truth[nearest], truth), 0.0)
    rows = {
        class_name(int(label), tuple(names)): {"recall_at_1": float(hits[truth == label].mean())}
        for label in np.flatnonzero(counts > 1)
    }
    figure = Figure("recall@1", hits[asking])
    chance = float(((counts[truth[asking]] - 1) / (len(truth) - 1)).mean())
    return Score(figure, {"recall_at_1": figure.value, "chance": chance}, rows)


def score_closeness(found: Outputs, expected: Outputs, outputs: Sequence[OutputSpec]) -> Score:
    """How near outputs are to the float model's, where nobody knows what they should be.

    Args:
        found: of the model.
        expected: of the float model.
        outputs: that the figures are about.

    Returns:
        Of a single output whose role has a measure of its own (the same class, mean IoU, cosine):
        that one; else one less the relative error of the worst output, or column of values. Of
        each output ``relative_error``, and ``agreement`` where its role has a measure.
    """
    rows = {}
    for output in outputs:
        parity = compare_outputs(found[output.name], expected[output.name], output)
        rows[output.name] = {"relative_error": parity.relative}
        if output.role in MEASURES:
            rows[output.name]["agreement"] = parity.agreement
    first, measure = outputs[0], MEASURES.get(outputs[0].role)
    if len(outputs) == 1 and measure is not None:
        parts = measure.of_samples(found[first.name], expected[first.name], first)
        of_mean = mean_itself if parts.ndim == 1 else _overlap_of_mean
        figure = Figure(f"{NAMES[first.role]} as the float model", parts, of_mean)
    else:
        columns = [error_parts(found[o.name], expected[o.name], o) for o in outputs]
        figure = Figure(CLOSENESS, np.concatenate(columns, axis=1), _closeness_of_mean)
    return Score(figure, {"closeness": figure.value}, rows)


def error_parts(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> np.ndarray:
    """What each sample contributes to the relative error of an output.

    Returns:
        float64 N K 3: |difference|, and the reference's distance from its mean and the square of
        that, of each column of values, or in the mean over the whole output (K = 1). Of numbers of
        classes, what differs counts 1.
    """
    if output.role is Role.LABELS:
        differs = 1 - same_integers(found, expected, output)
        return np.stack([differs, 0 * differs, 0 * differs + 1], axis=-1)[:, None]
    wide = expected.reshape(len(expected), -1).astype(np.float64)  # N D
    apart = output.role is Role.VALUES
    away = np.abs(found.reshape(wide.shape) - wide)
    centred = wide - (wide.mean(axis=0) if apart else wide.mean())
    parts = np.stack([away, centred, np.square(centred)], axis=-1)  # N D 3
    return parts if apart else parts.mean(axis=1, keepdims=True)


def _closeness_of_mean(mean: np.ndarray) -> float:
    """1 less the worst relative error, of K 3 of :func:`error_parts`; -inf of what is no number."""
    error, centre, square = mean.T
    spread = np.sqrt(np.maximum(square - np.square(centre), 0.0))
    worst = np.divide(error, spread, out=np.where(error > 0, np.inf, 0.0), where=spread > 0).max()
    return 1 - float(worst) if np.isfinite(worst) else -np.inf


def _overlap_of_mean(mean: np.ndarray) -> float:
    """Mean IoU, of 2 classes in the mean over samples."""
    return mean_of_overlaps(mean[None])


def _r2_of_mean(mean: np.ndarray) -> float:
    """R2 in the mean over columns, of K 3: squared error, truth and its square."""
    lost, centre, square = mean.T
    spread = square - np.square(centre)
    return float(
        (1 - np.divide(lost, spread, out=np.full_like(lost, np.inf), where=spread > 0)).mean()
    )


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
    centred = truth - truth.mean(axis=0)
    parts = np.stack([np.square(error), centred, np.square(centred)], axis=-1)  # N K 3
    return Score(Figure("R2", parts, _r2_of_mean), {"r2": float(r2.mean())}, rows)


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
    figure = Figure("accuracy", same.mean(axis=1))
    figures = {
        "accuracy": figure.value,
        "exact": float(same.all(axis=1).mean()),
        "f1": float(np.mean([row["f1"] for row in rows.values()])),
    }
    return Score(figure, figures, rows)


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
    figure = Figure("mean IoU", overlaps, _overlap_of_mean)
    return Score(figure, {"mean_iou": figure.value, "pixel_accuracy": right}, rows)
