"""What it means that two outputs agree: the relative error, and the measure of each role."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgevit.core.drift import project
from edgevit.core.parity import LITTLE, MANY, OutputParity
from edgevit.core.signature import Activation, OutputSpec, Role

QUIET = 0.1  # of the deviation of all columns: what a column of its own unit has at least
Z = 1.959964  # of a 95 % interval
RESAMPLES = 200


@dataclass(frozen=True)
class Measure:
    """The measure of a role.

    Attributes:
        of_samples: (found, expected, output) -> float64 B ...: 1 where a sample agrees.
        summarise: of_samples' result -> (mean, lower and upper end of its 95 % interval).
        undecided: (expected, output) -> whether all samples are decided alike, so that a constant
            would agree as well.
    """

    of_samples: Callable[[np.ndarray, np.ndarray, OutputSpec], np.ndarray]
    summarise: Callable[[np.ndarray], tuple[float, float, float]]
    undecided: Callable[[np.ndarray, OutputSpec], bool] = lambda expected, output: False


def threshold(output: OutputSpec) -> float | None:
    """What separates yes from no in each number; None where the largest of a row wins."""
    if output.activation is Activation.SIGMOID:
        return 0.5
    return 0.0 if output.shape[-1] == 1 else None


def decide(values: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Decisions that scores lead to.

    Args:
        values: float B ... C.
        output: that they are of.

    Returns:
        int64 B ...: the class; or bool B ... C, where each number decides by itself.
    """
    limit = threshold(output)
    return np.argmax(values, axis=-1) if limit is None else values > limit


def choose_class(values: np.ndarray, output: OutputSpec) -> np.ndarray:
    """The class of each sample, int64 B; of a single number whether it says yes."""
    chosen = decide(values, output)
    if chosen.dtype == bool:
        chosen = chosen[:, 0] if chosen.shape[-1] == 1 else np.argmax(values, axis=-1)
    return chosen.astype(np.int64)


def same_class(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Share of positions with the same class, for each sample.

    Integer outputs have at most 256 levels, so ties happen: the reference's class counts as found
    when its score is the row's largest, alone or not.
    """
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if threshold(output) is None:
        wanted = np.argmax(expected, axis=-1)[..., None]
        own = np.take_along_axis(found, wanted, axis=-1)[..., 0]
        hits = own >= np.max(found, axis=-1)
    else:
        hits = decide(found, output) == decide(expected, output)
    return hits.reshape(len(found), -1).mean(axis=1) * finite


def mean_iou(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Intersection and union of each class's pixels, by sample.

    The mean over classes is taken of the sums over all samples (Everingham et al. 2015, "The Pascal
    Visual Object Classes Challenge: A Retrospective"), so that a class of a few pixels in one
    picture counts no more than its share.

    Returns:
        float64 B 2 classes.
    """
    return count_overlaps(decide(found, output), decide(expected, output), output.shape[-1] or 1)


def count_overlaps(
    found: np.ndarray, expected: np.ndarray, classes: int, valid: np.ndarray | None = None
) -> np.ndarray:
    """Intersection and union in pixels.

    Args:
        found: int B H W of classes, or bool B H W C.
        expected: likewise.
        classes: how many there are.
        valid: bool B H W, the pixels that count; None: all.

    Returns:
        float64 B 2 classes.
    """
    result = np.zeros((len(found), 2, classes))
    for number in range(classes):
        if found.dtype == bool:
            ours, theirs = found[..., number], expected[..., number]
        else:
            ours, theirs = found == number, expected == number
        if valid is not None:
            ours, theirs = ours & valid, theirs & valid
        result[:, 0, number] = (ours & theirs).sum(axis=(1, 2))
        result[:, 1, number] = (ours | theirs).sum(axis=(1, 2))
    return result


def mean_of_overlaps(overlaps: np.ndarray) -> float:
    """Mean over the classes that occur of intersection over union, of B 2 classes; 1 if none."""
    both, either = overlaps.sum(axis=0)
    return float((both[either > 0] / either[either > 0]).mean()) if (either > 0).any() else 1.0


def overlap_interval(overlaps: np.ndarray) -> tuple[float, float, float]:
    """(mean IoU, ends of its 95 % interval by a seeded bootstrap over samples)."""
    rng = np.random.default_rng(0)
    count = len(overlaps)
    draws = [mean_of_overlaps(overlaps[rng.integers(0, count, count)]) for _ in range(RESAMPLES)]
    low, high = np.quantile(draws, (0.025, 0.975))
    mean = mean_of_overlaps(overlaps)
    return mean, min(mean, float(low)), max(mean, float(high))


def cosine(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Cosine of the angle between the vectors of each sample; 1 where both are zero."""
    a, b = (side.reshape(len(side), -1).astype(np.float64) for side in (found, expected))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = np.all(a == b, axis=1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), same)


def same_integers(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Share of equal numbers, for each sample."""
    return (found == expected).reshape(len(found), -1).mean(axis=1)


def _one_class(expected: np.ndarray, output: OutputSpec) -> bool:
    chosen = decide(expected, output)
    return bool((chosen == chosen[:1]).all())


def _one_value(expected: np.ndarray, output: OutputSpec) -> bool:
    return bool((expected == expected[:1]).all())


def compare_outputs(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> OutputParity:
    """The distance of one output of a file to the float model's.

    Args:
        found: float B ..., of the file.
        expected: float B ..., of the float model, of the same shape.
        output: what it is.
    """
    count = len(expected)
    if count == 0:
        return OutputParity(output.name, 0, np.nan, np.nan, np.nan, role=output.role)
    largest = float(np.abs(expected).max(initial=0.0))
    whole = OutputParity(output.name, count, np.nan, np.nan, largest, role=output.role)
    if not np.isfinite(found).all() or not expected.size:
        return whole
    a, b = _columns(found, output), _columns(expected, output)  # values columns
    difference = np.abs(a - b)
    error, relative = _of_columns(difference, b)
    agreement, low, high = _agreement(found, expected, output)
    measure = MEASURES.get(output.role)
    return OutputParity(
        name=output.name,
        images=count,
        max_abs=float(difference.max()),
        relative=relative,
        largest=largest,
        mean_abs=float(difference.mean()),
        error=error,
        role=output.role,
        agreement=agreement,
        low=low,
        high=high,
        constant=_hardly_varies(b),
        one_sided=count > 1 and bool(measure and measure.undecided(expected, output)),
        useless=output.role is not Role.LABELS and _is_useless(found, expected, output),
        columns=_by_column(found, expected, output, agreement),
    )


def project_errors(
    found: np.ndarray, expected: np.ndarray, output: OutputSpec
) -> tuple[tuple[float, ...], ...]:
    """Projections of one output's errors, see :func:`edgevit.core.drift.project`.

    The unit of each column is its own deviation, whether or not columns share their unit, and at
    least QUIET of the deviation of all: a column that hardly varies is lost first.

    Args:
        found: float B ..., of the file.
        expected: float B ..., of the float model, of the same shape.
        output: what it is.
    """
    if not expected.size or not np.isfinite(found).all():
        return ()
    errors = (found - expected.astype(np.float64)).reshape(-1, _count_columns(expected))
    wide = expected.astype(np.float64).reshape(errors.shape)
    unit = np.maximum(wide.std(axis=0), LITTLE * np.abs(wide).max(axis=0))
    return project(_ratio(errors, np.maximum(unit, QUIET * _spread(expected, output))))


def _by_column(
    found: np.ndarray, expected: np.ndarray, output: OutputSpec, agreement: float
) -> tuple[float, ...]:
    """See :class:`edgevit.core.parity.OutputParity`."""
    if output.role is Role.LABELS:
        return (1 - agreement,)
    count = _count_columns(expected)
    if count > MANY:
        return ()
    difference = np.abs(found - expected.astype(np.float64)).reshape(-1, count)
    ratios = _ratio(difference.mean(axis=0), _spread(expected, output))
    return tuple(float(value) for value in ratios)


def _count_columns(values: np.ndarray) -> int:
    return values.shape[-1] if values.ndim > 1 else 1


def _spread(expected: np.ndarray, output: OutputSpec) -> np.ndarray:
    """float64 columns: the deviation of each column, or of all where they share their unit."""
    own = _columns(expected, output)
    spread = np.maximum(own.std(axis=0), LITTLE * np.abs(own).max(axis=0))
    count = _count_columns(expected)
    return spread if len(spread) == count else np.full(count, spread.max())


def _columns(values: np.ndarray, output: OutputSpec) -> np.ndarray:
    """float64 values columns: columns apart where each has its own unit."""
    wide = values.astype(np.float64)
    return wide.reshape(len(values), -1) if output.role is Role.VALUES else wide.reshape(-1, 1)


def _of_columns(difference: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(largest error by the column's scale, mean error by its deviation), of the worst column.

    A column that hardly varies is held against its scale: its deviation is that of nothing.
    """
    scale = np.abs(expected).max(axis=0)
    spread = np.maximum(expected.std(axis=0), LITTLE * scale)
    errors = _ratio(difference.max(axis=0), scale)
    return float(errors.max()), float(_ratio(difference.mean(axis=0), spread).max())


def _ratio(error: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """error / unit; of a unit of zero, 0 or infinite."""
    infinite = np.where(error == 0, 0.0, np.inf)
    return np.divide(error, unit, out=infinite, where=unit > 0)


def _hardly_varies(expected: np.ndarray) -> bool:
    """Whether a constant would be as good: no column varies by more than LITTLE of its scale."""
    scale = np.abs(expected).max(axis=0)
    return bool((expected.std(axis=0) <= LITTLE * scale).all())


def _is_useless(found: np.ndarray, expected: np.ndarray, output: OutputSpec) -> bool:
    """Whether the reference's own mean over the samples is nearer to it, in all columns that vary.

    One column of values may be lost to a scale that it shares with far larger ones: that is what
    the precision costs, and no fault.

    Args:
        found: float B ..., of the file.
        expected: float B ..., of the float model.
        output: what it is; only those of values have columns of their own.
    """
    wide = expected.astype(np.float64)
    difference = np.abs(found - wide).reshape(len(wide), -1)
    spread = np.abs(wide - wide.mean(axis=0)).reshape(len(wide), -1)  # of a constant
    scale = np.abs(wide).reshape(len(wide), -1).max(axis=0)
    if output.role is not Role.VALUES:
        difference, spread, scale = difference.mean(), spread.mean(), scale.max()
    else:
        difference, spread = difference.mean(axis=0), spread.mean(axis=0)
    varies = np.atleast_1d(spread > LITTLE * scale)
    return bool(varies.any() and np.all(np.atleast_1d(difference >= spread)[varies]))


def _agreement(
    found: np.ndarray, expected: np.ndarray, output: OutputSpec
) -> tuple[float, float, float]:
    """(mean, lower and upper end of its 95 % interval) of the role's measure; NaN without one."""
    measure = MEASURES.get(output.role)
    if measure is None:
        return np.nan, np.nan, np.nan
    return measure.summarise(measure.of_samples(found, expected, output))


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of numbers in [0, 1] (or cosines), with its 95 % interval.

    Wilson's for shares (Wilson 1927), which is no point where all samples agree; a normal one
    around the mean of other measures, at least as wide.
    """
    count, mean = len(values), float(values.mean())
    share = min(1.0, max(0.0, mean))
    spread = 1 + Z * Z / count
    middle = (share + Z * Z / (2 * count)) / spread
    variance = share * (1 - share)
    if not set(np.unique(values)) <= {0.0, 1.0}:
        variance = min(variance, float(values.var()))
    half = Z * math.sqrt(variance / count + Z * Z / (4 * count**2)) / spread
    return mean, min(mean, max(0.0, middle - half)), max(mean, min(1.0, middle + half))


MEASURES: dict[Role, Measure] = {
    Role.LOGITS: Measure(same_class, mean_interval, _one_class),
    Role.PROBABILITIES: Measure(same_class, mean_interval, _one_class),
    Role.MASK: Measure(mean_iou, overlap_interval, _one_class),
    Role.EMBEDDING: Measure(cosine, mean_interval),
    Role.LABELS: Measure(same_integers, mean_interval, _one_value),
}
