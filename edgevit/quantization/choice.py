"""Which of two files is nearer to the float model, on the same samples, by more than chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgevit.base.statistics import resample_means

PICTURES = 4  # axes of a batch of them
Errors = Mapping[str, np.ndarray]
LEVEL = 0.95  # of the intervals


def relative_errors(found: Errors, wanted: Errors) -> dict[str, np.ndarray]:
    """Error of every output on each sample, relative to how far the output moves.

    Args:
        found: N ... by the name of the output.
        wanted: likewise, of the float model.

    Returns:
        Root of the mean square of each sample over the standard deviation. float64 N by name;
        outputs that do not move are left out.
    """
    errors = {}
    for name, values in wanted.items():
        rows = values.reshape(len(values), -1).astype(np.float64)
        deviation = np.sqrt(np.square(rows - rows.mean(axis=0)).mean())
        if deviation > 0:
            off = found[name].reshape(rows.shape).astype(np.float64) - rows
            errors[name] = np.sqrt(np.square(off).mean(axis=1)) / deviation
    return errors


def shake(inputs: Errors, times: int) -> tuple[Errors, int]:
    """Pictures again and again, their pixels moved by one at most.

    Each is rounded in another way on its way through a network: the error of a file is told from
    that of another by half as many samples.

    Args:
        inputs: N ... by name.
        times: how often at most.

    Returns:
        (N samples after N, the first of them as they were; how often). Once where no input is a
        picture in bytes.
    """
    pictures = [n for n, v in inputs.items() if v.dtype == np.uint8 and v.ndim == PICTURES]
    times = times if pictures else 1
    rng, found = np.random.default_rng(0), {}
    for name, values in inputs.items():
        parts = [values] * times
        if name in pictures:
            moved = [_move(values, rng) for _ in range(times - 1)]
            parts = [values, *moved]
        found[name] = np.concatenate(parts)
    return found, times


def _move(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moved = values.astype(np.int16) + rng.integers(-1, 2, values.shape, dtype=np.int16)
    return np.clip(moved, 0, 255).astype(np.uint8)


def fold(errors: Errors, times: int) -> dict[str, np.ndarray]:
    """Errors of :func:`shake`'s samples, one for each sample: N by name from times N."""
    return {name: values.reshape(times, -1).mean(axis=0) for name, values in errors.items()}


def is_nearer(after: Errors, before: Errors, power: int = 1) -> bool:
    """Whether errors fell in the mean over all outputs, and those of no output grew.

    Both by more than chance gives: the bootstrap interval over the samples does not hold zero.

    Args:
        after: of :func:`relative_errors`.
        before: likewise, on the same samples.
        power: of the errors that are compared; 2 hears the few samples that are far off.
    """
    changes = [
        (after[name] ** power - before[name] ** power) / mean
        for name in before
        if (mean := max((before[name] ** power).mean(), (after[name] ** power).mean())) > 0
    ]
    if not changes:
        return False
    means = resample_means(np.stack(changes, axis=1))  # RESAMPLES outputs
    tail = 100 * (1 - LEVEL) / 2
    grown = np.percentile(means, tail, axis=0) > 0
    return bool(np.percentile(means.mean(axis=1), 100 - tail) < 0 and not grown.any())
