"""A session's outputs against recorded ones, or against labels."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np

from edgevit.base.errors import DataError, KernelsEnded, RuntimeFailure
from edgevit.base.progress import Progress, Status
from edgevit.core.parity import (
    KERNELS,
    OWN,
    SYNTHETIC,
    AccuracyReport,
    OutputParity,
    ParityReport,
)
from edgevit.core.reference import ReferenceSet, Samples
from edgevit.core.runtime import Runtime
from edgevit.core.samples import Inputs, count_samples, take_samples
from edgevit.core.signature import OutputSpec, Signature
from edgevit.formats.registry import open_session
from edgevit.formats.session import Session, read_signature
from edgevit.tasks.measures import choose_class, compare_outputs, project_errors
from edgevit.verification.metrics import top_k

CHUNK = 50
# LiteRT's reference kernels are written for clarity, not for speed: all golden inputs of a large
# float network would take many minutes in them. They are held against the other kernels, input by
# input, and kernels that compute something else do so on any input: a few tell.
SLOW_KERNELS_S = 90.0
# Where running all golden inputs takes longer than that, they are shared among cores. Each session
# packs the weights anew, so of large files there is one.
SHARED_FROM_S = 0.5
SHARED_MOST_BYTES = 256 << 20
PROBED = 16  # inputs that tell how long all of them take

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Check:
    """What the runtimes of a file returned.

    Attributes:
        reports: of every comparison.
        caveats: a line for each runtime whose kernels ended their process; others ran the file.
    """

    reports: tuple[ParityReport, ...]
    caveats: tuple[str, ...] = ()


def check_file(
    path: Path,
    rows: Sequence[Runtime],
    reference: ReferenceSet,
    status: Status,
    look: Callable[[Session], None] = lambda session: None,
    wrap: Callable[[Session], Session] = lambda session: session,
    telling: int | None = None,
    lanes: int = 1,
) -> Check:
    """Runs a file in several runtimes, against the float model and against one another.

    Args:
        path: the file.
        rows: the runtimes; the first is what devices run.
        reference: golden inputs, and the user's own samples, with the float model's outputs.
        status: called with a line about what is being done.
        look: called with each session after it ran.
        wrap: what runs in the place of each session.
        telling: how many samples slow kernels run beside others, the first; None: all.
        lanes: sessions among which kernels share their inputs, at once: slow ones, and others where
            it takes long and the file is small enough to be opened twice. The outputs are the same.

    Raises:
        RuntimeFailure: a runtime refuses the file, or an output is missing or of another shape.
        KernelsEnded: the first runtime's kernels end their process.
    """
    reports: list[ParityReport] = []
    caveats: list[str] = []
    first: Outputs | None = None
    for row in rows:
        status(f"running {path.name} in {row.name}")
        with contextlib.ExitStack() as stack:

            def open_one(row: Runtime = row, stack: contextlib.ExitStack = stack) -> Session:
                return wrap(stack.enter_context(open_session(path, row.name)))

            count = min(lanes, telling) if row.slow and telling is not None else 1
            sessions = [open_one() for _ in range(count)]
            session = sessions[0]
            shared = lanes if path.is_file() and path.stat().st_size <= SHARED_MOST_BYTES else 1
            compare_kind = partial(_compare_shared, sessions, open_one, shared)
            if row.slow and telling is not None:
                # Where nothing else ran the file, its verdict rests on these kernels alone.
                most = telling if reports else None
                compare_kind = partial(_compare_first, sessions, most)
            try:
                found, report = compare_kind(reference.synthetic, SYNTHETIC)
                own = reference.own and compare_kind(reference.own, OWN)[1]
            except KernelsEnded as error:
                if not reports:
                    raise
                caveats.append(str(error))
                continue
            reports += [report, own] if own else [report]
            if first is None:
                first = found
            else:
                kernels = _compare_kernels(session, found, first, reference.synthetic.outputs)
                reports.append(kernels)
            look(session)
    return Check(tuple(reports), tuple(caveats))


def compare(session: Session, reference: ReferenceSet) -> ParityReport:
    """Runs the golden inputs and measures the distance to the float model's outputs.

    Raises:
        RuntimeFailure: the file has no such output, or one of another shape.
    """
    return _compare_samples(session, reference.synthetic, SYNTHETIC)[1]


def _compare_first(
    sessions: Sequence[Session], most: int | None, samples: Samples, kind: str
) -> tuple[Outputs, ParityReport]:
    """On the first samples: at most so many, and as many as run within SLOW_KERNELS_S."""
    started = time.perf_counter()
    found = _run_at_once(sessions, samples.first(len(sessions)).inputs)
    begun, elapsed = min(len(sessions), len(samples)), time.perf_counter() - started
    affordable = begun * int(SLOW_KERNELS_S / max(elapsed, 1e-9))
    few = samples.first(max(begun, min(affordable, most or len(samples))))
    return _compare_found(sessions[0], _run_rest(sessions, few, found, begun), few, kind)


def _compare_shared(
    sessions: list[Session],
    open_one: Callable[[], Session],
    lanes: int,
    samples: Samples,
    kind: str,
) -> tuple[Outputs, ParityReport]:
    """On all samples, shared among sessions that are opened once it is known to take long."""
    if lanes == 1 or len(samples) <= PROBED:
        return _compare_samples(sessions[0], samples, kind)
    started = time.perf_counter()
    found = sessions[0].run(samples.first(PROBED).inputs)
    left = len(samples) - PROBED
    if (time.perf_counter() - started) / PROBED * left > SHARED_FROM_S:
        sessions += [open_one() for _ in range(lanes - len(sessions))]
    return _compare_found(sessions[0], _run_rest(sessions, samples, found, PROBED), samples, kind)


def _run_rest(sessions: Sequence[Session], samples: Samples, found: Outputs, begun: int) -> Outputs:
    """Outputs of all samples, those of the first ``begun`` being there."""
    if len(samples) == begun:
        return found
    rest = _run_at_once(sessions, take_samples(samples.inputs, begun, len(samples)))
    return {name: np.concatenate([values, rest[name]]) for name, values in found.items()}


def _run_at_once(sessions: Sequence[Session], inputs: Inputs) -> Outputs:
    """Shares samples among sessions of the same file, each in a thread that ends with the process.

    Runtimes compute without Python's lock.
    """
    if len(sessions) == 1:
        return sessions[0].run(inputs)
    total = count_samples(inputs)
    size = -(-total // len(sessions))
    futures: list[Future[Outputs]] = []
    for session, start in zip(sessions, range(0, total, size), strict=False):
        part = take_samples(inputs, start, min(start + size, total))
        futures.append(Future())
        Thread(target=_answer, args=(session, part, futures[-1]), daemon=True).start()
    parts = [future.result() for future in futures]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answer(session: Session, inputs: Inputs, future: Future[Outputs]) -> None:
    try:
        future.set_result(session.run(inputs))
    except BaseException as error:
        future.set_exception(error)


def _compare_samples(session: Session, samples: Samples, kind: str) -> tuple[Outputs, ParityReport]:
    """(what the file returned, its distance to what was recorded)."""
    return _compare_found(session, session.run(samples.inputs), samples, kind)


def _compare_found(
    session: Session, found: Outputs, samples: Samples, kind: str
) -> tuple[Outputs, ParityReport]:
    """As :func:`_compare_samples`, of what the file returned already."""
    signature = read_signature(session)
    values = {
        name: take_output(found, name, session, expected)
        for name, expected in samples.outputs.items()
    }
    traced = len(samples) if kind == SYNTHETIC else samples.fitting
    outputs = tuple(
        _compare(values[name], expected, find_spec(signature, name), traced)
        for name, expected in samples.outputs.items()
    )
    rights = _count_right(values, samples, signature)
    return values, ParityReport(session.runtime, outputs, kind, *rights)


def _count_right(values: Outputs, samples: Samples, signature: Signature) -> tuple[float, float]:
    """Shares of labelled samples whose class (the file, the float model) finds; NaN without."""
    told = [output for output in signature.outputs if output.names_classes]
    if samples.labels is None or not told or len(told[0].shape) != 2:
        return np.nan, np.nan
    shares = []
    for side in (values, samples.outputs):
        chosen = choose_class(side[told[0].name], told[0])
        shares.append(float(np.mean(chosen == samples.labels[: len(chosen)])))
    return shares[0], shares[1]


def _compare_kernels(
    session: Session, found: Outputs, first: Outputs, expected: Outputs
) -> ParityReport:
    """What one set of kernels returned against what the first did, on the inputs of both.

    Args:
        session: of the kernels.
        found: what they returned.
        first: what the first did.
        expected: what the float model does.
    """
    signature, outputs = read_signature(session), []
    for name, values in found.items():
        count = min(len(values), len(first[name]))
        spec = find_spec(signature, name)
        parity = _compare(values[:count], first[name][:count], spec, count)
        lost = min(
            compare_outputs(side[name][:count], expected[name][:count], spec).relative
            for side in (found, first)
        )
        outputs.append(replace(parity, lost=lost if np.isfinite(lost) else None))
    return ParityReport(session.runtime, tuple(outputs), KERNELS)


def _compare(
    found: np.ndarray, expected: np.ndarray, spec: OutputSpec, traced: int
) -> OutputParity:
    """The distance of one output, with what a file remembers of it on its first samples."""
    traced = min(traced, len(expected))
    projections = project_errors(found[:traced], expected[:traced], spec)
    parity = compare_outputs(found, expected, spec)
    return replace(parity, projections=projections, projected=traced)


def find_spec(signature: Signature, name: str) -> OutputSpec:
    """The output of this name; the only one goes by any name."""
    named = {output.name: output for output in signature.outputs}
    return named.get(name, signature.outputs[0])


def take_output(found: Outputs, name: str, session: Session, expected: np.ndarray) -> np.ndarray:
    """One output, on the inputs that it was recorded on.

    Args:
        found: float N ... by name.
        name: of the output.
        session: for the error.
        expected: float M ..., M <= N.

    Raises:
        RuntimeFailure: there is none, or one of another shape.
    """
    values = find_output(found, name, session.path)[: len(expected)]
    if values.shape != expected.shape:
        raise RuntimeFailure(
            f"{session.path}: {name!r} has the shape {values.shape}; the float model's has "
            f"{expected.shape}."
        )
    return values


def measure_parity(
    found: Outputs, expected: Outputs, signature: Signature, runtime: str, samples: str = OWN
) -> ParityReport:
    """The distance between two sets of outputs, float B ... by name each."""
    outputs = tuple(
        compare_outputs(found[name], values, find_spec(signature, name))
        for name, values in expected.items()
    )
    return ParityReport(runtime, outputs, samples)


def run_outputs(
    run: Callable[[Inputs], Outputs], inputs: Inputs, progress: Progress | None = None
) -> Outputs:
    """Runs many inputs in small chunks. float32 N ... by output name.

    Args:
        run: of a session, or of a float model.
        inputs: N ... by name, or of the only input.
        progress: called with (inputs done, inputs in all).
    """
    total = count_samples(inputs)
    parts: list[Outputs] = []
    for start in range(0, total, CHUNK):
        parts.append(run(take_samples(inputs, start, start + CHUNK)))
        if progress:
            progress(min(start + CHUNK, total), total)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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


def score(
    logits: np.ndarray, labels: np.ndarray, runtime: str, source: str, seconds: float
) -> AccuracyReport:
    """Accuracy of logits over labelled images; arguments as in AccuracyReport.

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


def find_output(outputs: Outputs, name: str, file: str | Path) -> np.ndarray:
    """One output by name; the only one there is goes by any name.

    Args:
        outputs: by name, of whatever shape.
        name: of the output.
        file: that returned them, for the error.

    Raises:
        RuntimeFailure: there are several, and none of this name.
    """
    if name in outputs:
        return outputs[name]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    raise RuntimeFailure(f"{file}: no output {name!r} among {', '.join(sorted(outputs))}.")
