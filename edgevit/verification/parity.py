"""A session's logits against recorded ones, or against labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevit.base.errors import DataError, RuntimeFailure
from edgevit.base.progress import Progress
from edgevit.core.parity import AccuracyReport, OutputParity, ParityReport
from edgevit.core.reference import ReferenceSet
from edgevit.core.runtime import Runtime
from edgevit.formats.registry import open_session
from edgevit.formats.session import Session
from edgevit.verification.metrics import agreement, relative_to_spread, top_k

CHUNK = 50
# LiteRT's reference kernels are written for clarity: all golden images of a large float network
# would take many minutes in them. They run the first ones for this long; other kernels run all.
SLOW_KERNELS_S = 90.0


def compare_in(path: Path, row: Runtime, reference: ReferenceSet) -> ParityReport:
    """Runs the golden images of a file in a runtime; see :func:`compare`.

    Raises:
        RuntimeFailure: the runtime refuses the file, or an output is missing.
    """
    with open_session(path, row.name) as session:
        return compare(session, reference, limit_s=SLOW_KERNELS_S if row.slow else None)


def compare(
    session: Session,
    reference: ReferenceSet,
    output: str = "logits",
    limit_s: float | None = None,
) -> ParityReport:
    """Runs the golden images and measures the distance to the float model's outputs.

    Args:
        session: an opened file.
        reference: golden images and float logits.
        output: name of the output to compare.
        limit_s: about how long it may take; only the first images are run if all would take
            longer, at least one. None: all of them.

    Raises:
        RuntimeFailure: the file has no such output, or one of another shape.
    """
    if limit_s is not None:
        started = time.perf_counter()
        session.run(reference.images[:1])
        affordable = int(limit_s / max(time.perf_counter() - started, 1e-9))
        if affordable < len(reference.images):
            reference = reference.first(max(1, affordable))
    found = session.run(reference.images)
    logits = find_output(found, output, session)
    if logits.shape != reference.logits.shape:
        raise RuntimeFailure(
            f"{session.path}: {output!r} has the shape {logits.shape}; the float model's has "
            f"{reference.logits.shape}."
        )
    others = tuple(
        measure_other(find_output(found, name, session), expected, name, session)
        for name, expected in sorted(reference.others.items())
    )
    return replace(measure_parity(logits, reference.logits, session.runtime), others=others)


def measure_other(
    values: np.ndarray, expected: np.ndarray, name: str, session: Session
) -> OutputParity:
    """The distance of one further output to the float model's, on the first M golden images.

    Args:
        values: float N ..., of the file.
        expected: float M ..., M <= N.
        name: of the output.
        session: for the error.

    Raises:
        RuntimeFailure: the shapes differ.
    """
    values = values[: len(expected)]
    if values.shape != expected.shape:
        raise RuntimeFailure(
            f"{session.path}: {name!r} has the shape {values.shape}; the float model's has "
            f"{expected.shape}."
        )
    difference = np.abs(values.astype(np.float64) - expected.astype(np.float64))
    return OutputParity(
        name=name,
        images=len(expected),
        max_abs=float(difference.max()) if np.isfinite(difference).all() else float("nan"),
        relative=relative_to_spread(float(difference.mean()), expected),
        largest=float(np.abs(expected).max()),
    )


def measure_parity(logits: np.ndarray, reference: np.ndarray, runtime: str) -> ParityReport:
    """The distance between two sets of logits, float B classes each. Not finite: NaN."""
    if not np.isfinite(logits).all():
        return ParityReport(
            runtime, len(logits), np.nan, np.nan, np.nan, agreement(logits, reference)
        )
    difference = np.abs(logits.astype(np.float64) - reference.astype(np.float64))
    mean = float(difference.mean()) if difference.size else 0.0
    return ParityReport(
        runtime=runtime,
        images=len(logits),
        max_abs=float(difference.max()) if difference.size else 0.0,
        mean_abs=mean,
        relative=relative_to_spread(mean, reference),
        top1_agreement=agreement(logits, reference),
    )


def run_all(
    run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Runs many images in small chunks. float32 N classes.

    Args:
        run: uint8 B H W 3 -> float32 B classes.
        images: uint8 N H W 3.
        progress: called with (images done, images in all).
    """
    parts = []
    for start in range(0, len(images), CHUNK):
        parts.append(run(images[start : start + CHUNK]))
        if progress:
            progress(min(start + CHUNK, len(images)), len(images))
    return np.concatenate(parts)


def measure_accuracy(
    run: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    runtime: str,
    source: str,
    progress: Progress | None = None,
) -> AccuracyReport:
    """Accuracy over labelled images; arguments as in :func:`run_all`."""
    start = time.perf_counter()
    logits = run_all(run, images, progress)
    return score(logits, labels, runtime, source, time.perf_counter() - start)


def score(
    logits: np.ndarray, labels: np.ndarray, runtime: str, source: str, seconds: float
) -> AccuracyReport:
    """Accuracy of logits that were computed already; arguments as in AccuracyReport.

    Raises:
        DataError: a label that the model has no logit for.
    """
    if labels.max() >= logits.shape[-1]:
        raise DataError(
            f"{source}: has {labels.max() + 1} classes, where the model tells "
            f"{logits.shape[-1]} apart. Give a dataset of the model's own classes."
        )
    return AccuracyReport(
        images=len(logits),
        top1=top_k(logits, labels, 1),
        top5=top_k(logits, labels, 5),
        runtime=runtime,
        source=source,
        seconds=seconds,
    )


def find_output(outputs: dict[str, np.ndarray], name: str, session: Session) -> np.ndarray:
    """One output by name; the only one there is goes by any name.

    Raises:
        RuntimeFailure: there are several, and none of this name.
    """
    if name in outputs:
        return outputs[name]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    raise RuntimeFailure(f"{session.path}: no output {name!r} among {', '.join(sorted(outputs))}.")
