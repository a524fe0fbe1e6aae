"""Raw measurements. Verdicts are derived from them, never stored, and fail closed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from edgevit.base.documents import NanFloat
from edgevit.core.tolerance import Tolerance


class Verdict(StrEnum):
    """Outcome of a check."""

    PASS = "pass"
    FAIL = "fail"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class OutputParity:
    """An output beside the logits against the float model's, on the same images.

    Attributes:
        name: of the output.
        images: how many images were compared.
        max_abs: largest |difference|; NaN if any value is not finite.
        relative: mean |difference| over the standard deviation of the reference.
        largest: largest |value| of the reference.
    """

    name: str
    images: int
    max_abs: NanFloat
    relative: NanFloat
    largest: NanFloat

    def verdict(self, tolerance: Tolerance) -> Verdict:
        """PASS only if every limit holds. No image is NOT_RUN; a NaN anywhere is a FAIL."""
        if self.images == 0:
            return Verdict.NOT_RUN
        holds = self.relative <= tolerance.max_relative_other and bool(np.isfinite(self.max_abs))
        if tolerance.max_abs is not None:
            holds = holds and self.max_abs <= tolerance.max_abs * max(1.0, self.largest)
        return Verdict.PASS if holds else Verdict.FAIL


@dataclass(frozen=True)
class ParityReport:
    """A file's logits against the float model's, on the same images.

    Attributes:
        runtime: runtime and kernel set that ran the file.
        images: how many images were compared.
        max_abs: largest |difference| of any logit; NaN if any output is not finite.
        mean_abs: mean |difference|.
        relative: mean_abs over the standard deviation of the reference logits.
        top1_agreement: share of images in [0, 1] with the same class. A tie in the file's logits
            counts as agreement when the reference's class is among the tied ones.
        others: one for each further output.
    """

    runtime: str
    images: int
    max_abs: NanFloat
    mean_abs: NanFloat
    relative: NanFloat
    top1_agreement: NanFloat
    others: tuple[OutputParity, ...] = ()

    def verdict(self, tolerance: Tolerance) -> Verdict:
        """PASS only if every limit holds. No image is NOT_RUN; a NaN anywhere is a FAIL."""
        if self.images == 0:
            return Verdict.NOT_RUN
        holds = self.relative <= tolerance.max_relative
        holds = holds and self.top1_agreement >= tolerance.min_agreement
        holds = holds and bool(np.isfinite([self.max_abs, self.mean_abs]).all())
        if tolerance.max_abs is not None:
            holds = holds and self.max_abs <= tolerance.max_abs
        own = Verdict.PASS if holds else Verdict.FAIL
        return worst([own, *(other.verdict(tolerance) for other in self.others)])


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


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict over several checks: a failure wins, then what did not run."""
    for verdict in (Verdict.FAIL, Verdict.NOT_RUN):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if verdicts else Verdict.NOT_RUN
