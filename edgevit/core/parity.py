"""Raw measurements. Verdicts are derived from them, never stored, and fail closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from edgevit.base.documents import NanFloat, to_plain
from edgevit.core.signature import Role
from edgevit.core.tolerance import TELLING, Rounding, Tolerance


class Verdict(StrEnum):
    """Outcome of a check."""

    PASS = "pass"
    LOSSY = "lossy"  # right, but its precision costs more than the limit
    FAIL = "fail"
    NOT_RUN = "not run"


SYNTHETIC, OWN, KERNELS = "synthetic", "own", "kernels"
SAMPLES = {
    SYNTHETIC: "Synthetic samples",
    OWN: "Your own samples",
    KERNELS: "Against other kernels",
}
# What the measure of a role is called, which says what it means that outputs agree.
MEASURES: dict[Role, str] = {
    Role.LOGITS: "same top-1",
    Role.PROBABILITIES: "same top-1",
    Role.MASK: "mean IoU",
    Role.EMBEDDING: "cosine",
    Role.LABELS: "same label",
}
NAN = NanFloat("nan")
COARSE = 0.1  # of an output's scale: what rounding may do to an output that does not vary
MANY = 256  # columns whose errors are told apart
COUNTED = 64  # samples on which a share of those with the same class is no matter of chance
APART = 2.0  # of what a file loses: how far two kernel sets may round it apart
LITTLE = 1e-3  # of an output's scale: reference outputs that vary less prove nothing


@dataclass(frozen=True)
class OutputParity:
    """One output of a file against the float model's, on the same inputs.

    Attributes:
        name: of the output.
        images: how many inputs were compared.
        max_abs: largest |difference|; NaN if any value is not finite.
        relative: mean |difference| over the standard deviation of the reference, of the worst
            column where columns have their own units.
        largest: largest |value| of the reference.
        mean_abs: mean |difference|.
        error: largest |difference|, in units of the largest |value| of its column.
        role: what the output's numbers are.
        agreement: the measure of its role, see :mod:`edgevit.tasks.measures`; NaN without one.
        low: lower end of the measure's 95 % interval.
        high: upper end.
        constant: whether the reference hardly varies over these inputs, so that a constant would
            be as near.
        one_sided: whether all reference outputs are of one class, so that agreement proves
            nothing.
        useless: whether a constant would be nearer: the mean of the reference over these inputs.
        columns: mean |difference| of each number of the last axis, in units of the deviation; of
            labels the share that differs. Empty where there are more than MANY.
        projections: of the errors, by column, see :func:`edgevit.core.drift.project`; no document
            shows them. Empty where nothing asks for them, or a value is not finite.
        projected: on how many inputs, the first; likewise.
        lost: of kernels against others: what the better of both is off from the float model on
            these inputs, as ``relative``; None elsewhere, or where that is no number.
        rounding: what float32 rounding alone makes of the output, where that is more than limits
            of exact arithmetic allow for; None elsewhere.
    """

    name: str
    images: int
    max_abs: NanFloat
    relative: NanFloat
    largest: NanFloat
    mean_abs: NanFloat = NAN
    error: NanFloat = NAN
    role: Role = Role.MAP
    agreement: NanFloat = NAN
    low: NanFloat = NAN
    high: NanFloat = NAN
    constant: bool = False
    one_sided: bool = False
    useless: bool = False
    columns: tuple[float, ...] = ()
    projections: tuple[tuple[float, ...], ...] = ()
    projected: int = 0
    lost: float | None = None
    rounding: Rounding | None = None

    def to_document(self) -> dict[str, Any]:
        """JSON values."""
        found: dict[str, Any] = to_plain(replace(self, projections=()))
        del found["projections"], found["projected"]
        for name in ("lost", "rounding"):
            if found[name] is None:
                del found[name]
        return found

    def allowed(self, tolerance: Tolerance) -> Tolerance:
        """The limits of this output, of this network, on so many inputs."""
        return tolerance.beside(self.rounding, few=self.images <= TELLING)

    def apart(self, tolerance: Tolerance) -> float:
        """How far this output of two kernel sets may lie apart, as ``relative``.

        Behind many rounded layers kernels round altogether otherwise: two errors of one size that
        have nothing to do with one another lie 1.4 times that apart, in the mean.
        """
        allowed = self.allowed(tolerance).kernels
        return allowed if self.lost is None else max(allowed, APART * self.lost)

    def verdict(self, tolerance: Tolerance) -> Verdict:
        """FAIL for what is wrong, LOSSY for what rounding costs; no input is NOT_RUN."""
        if self.images == 0:
            return Verdict.NOT_RUN
        if not np.isfinite(self.max_abs):
            return Verdict.FAIL
        allowed = self.allowed(tolerance)
        exact, limit = allowed.exact, allowed.limit(self.role)
        if exact is not None and not self.error <= exact:
            return Verdict.FAIL
        if self.constant:
            holds = self.error <= COARSE
        else:
            holds = self.relative <= limit.relative
            if limit.agreement and not self.one_sided:
                holds = holds and self._reached(allowed) >= limit.agreement
        lost = Verdict.LOSSY if exact is None else Verdict.FAIL
        return Verdict.PASS if holds else lost

    def _reached(self, tolerance: Tolerance) -> float:
        """What is held against the limit of the measure.

        A class that flips between two near ones is an eighth of eight samples. Where numbers are
        far nearer than they have to be, the share on few is what it may be on more.
        """
        share = self.role in (Role.LOGITS, Role.PROBABILITIES) and not np.isnan(self.agreement)
        near = tolerance.exact is None and 2 * self.relative <= tolerance.limit(self.role).relative
        few = share and near and self.images < COUNTED
        return float(np.fmax(self.agreement, self.high)) if few else self.agreement


@dataclass(frozen=True)
class ParityReport:
    """A file's outputs against the float model's, on the same inputs.

    Attributes:
        runtime: runtime and kernel set that ran the file.
        outputs: one for each output, in the model's order.
        samples: SYNTHETIC or OWN inputs; KERNELS: synthetic ones, held against what the first
            runtime made of them.
        accuracy: share of labelled samples whose class the file finds, in [0, 1]; NaN without
            labels.
        float_accuracy: likewise, the float model.
    """

    runtime: str
    outputs: tuple[OutputParity, ...]
    samples: str = SYNTHETIC
    accuracy: NanFloat = NAN
    float_accuracy: NanFloat = NAN

    @property
    def images(self) -> int:
        """Inputs of the output that was compared on most."""
        return max((output.images for output in self.outputs), default=0)

    @property
    def first(self) -> OutputParity:
        """The output that stands for the file: the first that tells classes apart, or the first."""
        scores = (Role.LOGITS, Role.PROBABILITIES)
        return next((out for out in self.outputs if out.role in scores), self.outputs[0])

    @property
    def max_abs(self) -> float:
        """Of the first output."""
        return self.first.max_abs

    @property
    def mean_abs(self) -> float:
        """Of the first output."""
        return self.first.mean_abs

    @property
    def relative(self) -> float:
        """Of the first output."""
        return self.first.relative

    @property
    def top1_agreement(self) -> float:
        """Of the first output; NaN where it tells no classes apart."""
        return self.first.agreement

    @property
    def others(self) -> tuple[OutputParity, ...]:
        """The outputs beside the first."""
        return tuple(output for output in self.outputs if output is not self.first)

    @property
    def constant(self) -> bool:
        """Whether no output varies over these inputs, or all are of one class."""
        return all(output.constant or output.one_sided for output in self.outputs)

    @property
    def useless(self) -> bool:
        """Whether an output says less of the float model's than a constant would."""
        return any(output.useless for output in self.outputs)

    def verdict(self, tolerance: Tolerance) -> Verdict:
        """The worst of the outputs; of kernel sets against one another: FAIL where they differ."""
        if self.samples == KERNELS:
            near = all(output.relative <= output.apart(tolerance) for output in self.outputs)
            return Verdict.PASS if near else Verdict.FAIL
        return worst([output.verdict(tolerance) for output in self.outputs])

    def to_document(self) -> dict[str, Any]:
        """JSON values; those of the first output stand at the top, as they always did."""
        return {
            "runtime": self.runtime,
            "images": self.images,
            "samples": self.samples,
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "relative": self.relative,
            "top1_agreement": self.top1_agreement,
            "others": [output.to_document() for output in self.others],
            "outputs": [output.to_document() for output in self.outputs],
            "accuracy": self.accuracy,
            "float_accuracy": self.float_accuracy,
        }

    @classmethod
    def upgrade(cls, document: dict[str, Any]) -> dict[str, Any]:
        """A document of :meth:`to_document` from before it told outputs apart, as one of now."""
        if "outputs" in document:
            return document
        names = ("images", "max_abs", "mean_abs", "relative", "top1_agreement")
        found = document.get("others", [])
        if not all(name in document for name in names) or not isinstance(found, list):
            return document  # damaged: whoever reads it says so
        first = {name: document[name] for name in names[:-1]}
        first |= {"name": "logits", "largest": None, "role": Role.LOGITS}
        first["agreement"] = document["top1_agreement"]
        first["error"] = document["max_abs"]  # its limit was absolute
        others = [
            {"error": _scaled(other), **other} if isinstance(other, dict) else other
            for other in found
        ]
        return {**document, "outputs": [first, *others]}


def allow_rounding(
    reports: Sequence[ParityReport], roundings: Mapping[str, Rounding] | None
) -> tuple[ParityReport, ...]:
    """Reports that are judged by what float32 rounding makes of the network's outputs.

    Args:
        reports: of a file's runs.
        roundings: by output; None: nothing is known, or nothing of note.
    """
    known = roundings or {}
    return tuple(
        replace(
            report,
            outputs=tuple(
                replace(output, rounding=known.get(output.name)) for output in report.outputs
            ),
        )
        for report in reports
    )


def _scaled(output: dict[str, Any]) -> float | None:
    """The largest difference of an output by its scale, as far as an older document says both."""
    error, largest = output.get("max_abs"), output.get("largest")
    if not isinstance(error, (int, float)) or not isinstance(largest, (int, float)):
        return None
    return error / largest if largest > 0 else None


def judge(reports: Sequence[ParityReport], tolerance: Tolerance) -> Verdict:
    """The verdict of a file.

    Where the user's own samples were compared, these say what its precision costs: synthetic ones
    may lie where nothing was calibrated. Likewise the runtime that ran most of them: another one
    that ran a few is held against it. Errors of float arithmetic count on all. Where a constant
    would be nearer to the float model, no precision was lost but the file is wrong.
    """
    own = any(report.samples == OWN for report in reports)
    most: dict[str, int] = {}
    for report in reports:
        most[report.samples] = max(report.images, most.get(report.samples, 0))
    found = []
    for report in reports:
        verdict = report.verdict(tolerance)
        informs = (own and report.samples == SYNTHETIC) or report.images < most[report.samples]
        if verdict is Verdict.LOSSY and informs:
            verdict = Verdict.PASS
        elif verdict is Verdict.LOSSY and report.useless:
            verdict = Verdict.FAIL
        found.append(verdict)
    return worst(found)


@dataclass(frozen=True)
class AccuracyReport:
    """Accuracy over labelled images.

    Attributes:
        images: how many.
        top1: percent.
        top5: percent.
        runtime: what ran the model.
        source: dataset.
        seconds: wall time of the whole evaluation.

    Raises:
        ValueError: no image, or a share that is none.
    """

    images: int
    top1: float
    top5: float
    runtime: str = ""
    source: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.images < 1 or not (0 <= self.top1 <= 100 and 0 <= self.top5 <= 100):
            raise ValueError(f"{self.images} images, {self.top1} % top-1 and {self.top5} % top-5")


@dataclass(frozen=True)
class FloatFigures:
    """The float model beside a file, on the same samples.

    Attributes:
        figures: by name, as the file's.
        points_lost: hundredths of the first figure that the file loses.
        interval: ends of its 95 % interval, over pairs.
    """

    figures: dict[str, NanFloat]
    points_lost: NanFloat
    interval: tuple[NanFloat, NanFloat]


@dataclass(frozen=True)
class TaskReport:
    """Figures of a model's own task over labelled samples.

    Attributes:
        task: what the model is for.
        images: how many samples.
        figures: by name, the one that a budget trades first.
        rows: figures of each class or quantity, by its name.
        runtime: what ran the model.
        source: where the samples came from.
        seconds: wall time of the whole evaluation.
        figure: what the first figure is called.
        interval: ends of its 95 % interval.
        float_model: the float model on the same samples; None where none was named.
    """

    task: str
    images: int
    figures: dict[str, NanFloat]
    rows: dict[str, dict[str, NanFloat]]
    runtime: str
    source: str
    seconds: float = 0.0
    figure: str = ""
    interval: tuple[NanFloat, NanFloat] = (NAN, NAN)
    float_model: FloatFigures | None = None


@dataclass(frozen=True)
class NodeTime:
    """Raw times of one kernel that a runtime ran.

    Attributes:
        node: the file's node or tensor that it computes; the runtime's own name where none fits.
        op: operator, as the file calls it (TFLite) or as the runtime fused it (ONNX).
        kernel: what the runtime itself calls it.
        layer: path of the Keras layer; empty where it cannot be told.
        time_us: microseconds, one entry a run.
    """

    node: str
    op: str
    kernel: str
    layer: str
    time_us: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """Where the time of one file goes, in one runtime.

    Attributes:
        file: its name.
        sha256: of its content.
        runtime: runtime and kernel set.
        threads: given to the kernels.
        nodes: in the order in which they ran.
        profiled_us: microseconds of whole runs with the runtime's profiler on.
        plain_us: of whole runs of a second instance without it, in turns with the others.
        environment: the machine and the tools.
    """

    file: str
    sha256: str
    runtime: str
    threads: int
    nodes: tuple[NodeTime, ...]
    profiled_us: tuple[float, ...]
    plain_us: tuple[float, ...]
    environment: dict[str, Any]


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict over several checks: a failure wins, then what did not run, then a loss."""
    for verdict in (Verdict.FAIL, Verdict.NOT_RUN, Verdict.LOSSY):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if verdicts else Verdict.NOT_RUN
