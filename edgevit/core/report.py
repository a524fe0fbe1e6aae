"""Reports on a folder of exported files. Everything but the files is optional."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevit.core.inspection import Inspection
from edgevit.core.manifest import Manifest
from edgevit.core.parity import AccuracyReport, ParityReport, TaskReport, Verdict, judge, worst
from edgevit.core.tolerance import Tolerance


@dataclass(frozen=True)
class Latency:
    """Figures of one row of a benchmark, of one file on one machine.

    Attributes:
        runtime: that ran it.
        threads: given to the kernels.
        batch: images a run.
        median_ms: over the rounds.
        low_ms: lower end of the median's 95 % interval; None where there are too few rounds.
        high_ms: upper end.
        p95_ms: 95th percentile of single runs.
        cold_ms: load and first run; None where it was not measured.
        peak_bytes: peak memory of the process; None where it was not measured.
        machine: that ran it, in words.
        roofline: share in [0, 1] of the machine's limit; None where it was not measured.
    """

    runtime: str
    threads: int
    batch: int
    median_ms: float
    low_ms: float | None
    high_ms: float | None
    p95_ms: float
    cold_ms: float | None
    peak_bytes: int | None
    machine: str
    roofline: float | None = None


@dataclass(frozen=True)
class NamedValue:
    """A figure of one operator or layer.

    Attributes:
        name: of the operator or layer.
        value: the figure.
    """

    name: str
    value: float


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        title: below it.
        data_uri: the whole picture.
        width: pixels.
        height: pixels.
    """

    title: str
    data_uri: str = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True)
class FileReport:
    """One exported file with all the evidence that was found for it.

    Attributes:
        name: of the file or folder.
        format: of the file.
        size_bytes: of the file or folder.
        sha256: of its content.
        damage: why it is not what was exported; empty if it is.
        manifest: the metadata inside it; None for a file of another tool.
        summary: one line about its target; empty where that is not known.
        tolerance: of its target; None where that is not known.
        contents: what is inside; None where it was not looked at.
        notes: what could not be read, a line each.
        parity: golden images against the float model, one for each kernel set.
        at_export: whether the export measured that, and nobody has again.
        accuracy: on labelled images.
        agreement: on the same images against the float model.
        figures: of its task, on samples (``edgevit evaluate``).
        latency: one for each row of a benchmark.
        arena_bytes: working memory in TensorFlow Lite Micro.
        times: microseconds of layers or operators, the slowest first.
        errors: error of layers, in the order of the network.
    """

    name: str
    format: str
    size_bytes: int
    sha256: str
    damage: str = ""
    manifest: Manifest | None = None
    summary: str = ""
    tolerance: Tolerance | None = None
    contents: Inspection | None = None
    notes: tuple[str, ...] = ()
    parity: tuple[ParityReport, ...] = ()
    at_export: bool = False
    accuracy: AccuracyReport | None = None
    agreement: ParityReport | None = None
    figures: TaskReport | None = None
    latency: tuple[Latency, ...] = ()
    arena_bytes: int | None = None
    times: tuple[NamedValue, ...] = ()
    errors: tuple[NamedValue, ...] = ()

    @property
    def target(self) -> str:
        """The target that a sound file's manifest names; empty without one."""
        return self.manifest.target if self.manifest and not self.damage else ""

    @property
    def verdict(self) -> Verdict:
        """FAIL for damage; NOT_RUN where no golden image was compared."""
        if self.damage:
            return Verdict.FAIL
        if self.tolerance is None:
            return Verdict.NOT_RUN
        return judge(self.parity, self.tolerance)

    @property
    def fastest(self) -> Latency | None:
        """The row with the smallest median at the smallest batch and on one thread, if any."""
        rows = sorted(self.latency, key=lambda row: (row.batch, row.threads, row.median_ms))
        return rows[0] if rows else None


@dataclass(frozen=True)
class Gap:
    """A section that is missing, and how to fill it.

    Attributes:
        what: is missing.
        command: that fills it.
    """

    what: str
    command: str


@dataclass(frozen=True)
class Report:
    """A folder of exported files.

    Attributes:
        title: of the page.
        folder: as the user named it.
        files: the exported files.
        pictures: where the network looks.
        gaps: what is missing, and the command that fills it.
        ignored: files in the folder that say nothing here, with the reason.
        warnings: what a reader must know before believing a figure.
        environment: the machine that wrote the report, and its tools.
        float_accuracy: of the float model; None where it was not measured.
    """

    title: str
    folder: str
    files: tuple[FileReport, ...]
    pictures: tuple[Picture, ...]
    gaps: tuple[Gap, ...]
    ignored: tuple[str, ...]
    environment: dict[str, Any]
    float_accuracy: AccuracyReport | None = None
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """A short name for each file by its own: the target, where only one file has it."""
        targets = [file.target for file in self.files]
        return {
            file.name: file.target if targets.count(file.target) == 1 and file.target else file.name
            for file in self.files
        }

    @property
    def verdict(self) -> Verdict:
        """FAIL if any file failed; else NOT_RUN if any was not run."""
        return worst([file.verdict for file in self.files])


def wilson_interval(share: float, images: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927, "Probable inference, the law of succession").

    Args:
        share: found, in [0, 1].
        images: that it was found on, at least 1.

    Returns:
        (lower end, upper end), in [0, 1].
    """
    z = 1.959964
    spread = 1 + z * z / images
    middle = (share + z * z / (2 * images)) / spread
    half = z * float(np.sqrt(share * (1 - share) / images + z * z / (4 * images**2))) / spread
    return max(0.0, middle - half), min(1.0, middle + half)
