"""Is a file what it was when it was written, by what it computes?

A file that rounds remembers how it rounded. What it returned on the golden inputs would fill as
much room as the float model's outputs do, so it keeps a few random projections of its errors: the
mean square of the difference between two such sets estimates the mean square of the difference
between the outputs themselves (Johnson and Lindenstrauss 1984; with random signs: Achlioptas 2003,
"Database-friendly random projections").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgevit.core.parity import KERNELS, OWN, SYNTHETIC, OutputParity, ParityReport

# A column loses at most DRIFT times what it lost when its file was written, and DRIFT_LEAST of the
# deviation: as far as other kernels round otherwise. See docs/decisions/0017.
DRIFT, DRIFT_LEAST = 1.5, 0.01
# A column moves by at most MOVED times what lay between two kernel sets then, and MOVED_LEAST of
# the deviation. On a processor with other instruction sets the same runtime runs other kernels:
# what is float between integers differs in its last bits, some of it falls on the next level, and
# behind many layers a sound file is rounded otherwise altogether. Two independent errors of one
# size lie 1.4 times that apart, so ELSEWHERE times its error is added there.
MOVED, MOVED_LEAST, ELSEWHERE = 2.0, 0.03, 1.5
PROJECTIONS = 16  # of each column: the root of their mean square is known within 18 % then
INSIDE = {SYNTHETIC: "golden inputs", OWN: "the samples inside"}
TOLD_APART = 16  # columns that have projections of their own; more of them share theirs


@dataclass(frozen=True)
class Trace:
    """How one output of a file was rounded when the file was written.

    Attributes:
        runtime: runtime and kernel set that ran the file.
        samples: SYNTHETIC, the golden inputs; OWN, the user's samples that are in the file.
        output: name of its output.
        images: how many of these samples, the first.
        projections: of each column's errors, see :func:`project`.
        apart: root mean square of the difference to other kernels, of the worst column, in units of
            the deviation; 0 where the file ran in one set of kernels, or these came second.
        processor: that ran it, see :func:`edgevit.base.processor.describe_kernels`.
    """

    runtime: str
    samples: str
    output: str
    images: int
    projections: tuple[tuple[float, ...], ...]
    apart: float = 0.0
    processor: str = ""

    def __post_init__(self) -> None:
        if self.samples not in INSIDE:
            raise ValueError(f"a trace on {self.samples!r} samples")
        if not self.projections or {len(row) for row in self.projections} != {PROJECTIONS}:
            raise ValueError(f"the trace of {self.output!r} has not {PROJECTIONS} projections")

    def limits(self, processor: str) -> np.ndarray:
        """How far each column may move, as a root mean square in units of the deviation.

        Args:
            processor: that runs the file now.
        """
        own = 0.0 if processor == self.processor else ELSEWHERE
        found = MOVED * self.apart + MOVED_LEAST + own * _size(self.projections)
        return np.asarray(found)


def project(errors: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """PROJECTIONS sums of errors with random signs, by column, with four digits.

    Args:
        errors: float N columns, in units of each column's deviation.

    Returns:
        For each column its sums over the root of N; one row for all where there are more than
        TOLD_APART. Empty where an error is not finite.
    """
    if not errors.size or not np.isfinite(errors).all():
        return ()
    if errors.shape[-1] > TOLD_APART:
        errors = errors.reshape(-1, 1)
    count = len(errors)
    sums = np.stack([_draw_signs(seed, count) @ errors for seed in range(PROJECTIONS)])
    columns = (sums / np.sqrt(count)).T
    return tuple(tuple(float(f"{value:.3e}") for value in column) for column in columns)


def _draw_signs(seed: int, count: int) -> np.ndarray:
    """float64 count of -1 and 1, the same on every machine."""
    words = np.random.PCG64(seed).random_raw(-(-count // 64)).astype("<u8")
    return np.unpackbits(words.view(np.uint8))[:count] * 2.0 - 1


def _size(projections: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Root mean square that projections tell of, by column."""
    with np.errstate(over="ignore"):  # a forged trace may hold any number
        return np.asarray(np.sqrt(np.square(np.asarray(projections, np.float64)).mean(axis=1)))


def record_traces(reports: Sequence[ParityReport], processor: str) -> tuple[Trace, ...]:
    """What a file remembers of how it was rounded, for :func:`find_move`.

    Args:
        reports: of its runtimes.
        processor: that ran it, see :func:`edgevit.base.processor.describe_kernels`.
    """
    apart = max(
        (
            float(_size(output.projections).max())
            for report in reports
            if report.samples == KERNELS
            for output in report.outputs
            if output.projections
        ),
        default=0.0,
    )
    return tuple(
        Trace(
            report.runtime,
            report.samples,
            output.name,
            output.projected,
            output.projections,
            float(f"{apart:.2e}") if report.runtime == reports[0].runtime else 0.0,
            processor,
        )
        for report in reports
        if report.samples in INSIDE
        for output in report.outputs
        if output.projections
    )


def find_move(
    reports: Sequence[ParityReport], traces: Sequence[Trace] | None, processor: str
) -> str:
    """Why a file does not compute what it computed when it was written, in the same runtimes.

    Args:
        reports: of now.
        traces: of :func:`record_traces` when it was written; None: nothing was recorded.
        processor: that runs it now.

    Returns:
        A line about the column that moved furthest beyond its limit; empty where there is none.
    """
    then = {
        (trace.runtime, trace.samples, trace.output, trace.images): trace for trace in traces or ()
    }
    worst, line = 1.0, ""
    for report in reports:
        for output in report.outputs:
            trace = then.get((report.runtime, report.samples, output.name, output.projected))
            if trace is None or np.shape(trace.projections) != np.shape(output.projections):
                continue
            moved = _size(np.subtract(output.projections, trace.projections))
            limits = trace.limits(processor)
            place = int(np.argmax(moved / limits))
            if moved[place] > worst * limits[place]:
                worst = float(moved[place] / limits[place])
                column = f"[{place}]" if len(moved) > 1 else ""
                line = (
                    f"{output.name}{column} moved by {100 * moved[place]:.2g} % of its deviation "
                    f"(limit {100 * limits[place]:.2g} %) on {INSIDE[trace.samples]} in "
                    f"{report.runtime} since the file was written: it changed"
                )
    return line


def record_errors(reports: Sequence[ParityReport]) -> dict[str, tuple[float, ...]]:
    """What each column of each output loses on the golden inputs, for the file to remember.

    Returns:
        The worst over the runtimes that ran all inputs, with three digits, by name of the output.
    """
    found: dict[str, tuple[float, ...]] = {}
    for output in _whole_outputs(reports):
        own = found.get(output.name, (0.0,) * len(output.columns))
        pairs = zip(output.columns, own, strict=True)
        found[output.name] = tuple(float(f"{max(pair):.2e}") for pair in pairs)
    return found


def find_drift(
    reports: Sequence[ParityReport], recorded: Mapping[str, Sequence[float]] | None
) -> str:
    """Why a file is not what it was when it was written: an output is much further off now.

    Unlike :func:`find_move` it compares across runtimes. Rounding is rounding everywhere: other
    kernels round a little otherwise, so what a column loses differs by little. A lost channel costs
    far less than what some precisions may, and far more than this file's did.

    Args:
        reports: of now.
        recorded: of :func:`record_errors` when it was written; None: nothing was recorded.

    Returns:
        A line about the worst column; empty where there is none.
    """
    worst, line = 1.0, ""
    for output in _whole_outputs(reports):
        before = (recorded or {}).get(output.name, ())
        if len(before) != len(output.columns):
            continue
        for place, (now, then) in enumerate(zip(output.columns, before, strict=True)):
            share = now / (DRIFT * then + DRIFT_LEAST)
            if share > worst:
                worst, column = share, f"[{place}]" if len(before) > 1 else ""
                line = (
                    f"{output.name}{column} is {100 * now:.2g} % of the deviation off on golden "
                    f"inputs, and was {100 * then:.2g} % when the file was written: it changed"
                )
    return line


def _whole_outputs(reports: Sequence[ParityReport]) -> Iterator[OutputParity]:
    """Outputs on the golden inputs, of runs over all of them."""
    golden = [report for report in reports if report.samples == SYNTHETIC]
    most = max((report.images for report in golden), default=0)
    for report in golden:
        if report.images == most:
            yield from (output for output in report.outputs if np.isfinite(output.columns).all())
