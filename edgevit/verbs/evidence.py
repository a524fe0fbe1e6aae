"""Measurements of other commands, read from their JSON and matched with the files they are of.

A document is told by its keys, not by its name. It names its file by the digest; one without a
digest by the file's name, or by its own (``FILE.accuracy.json``). What was measured with another
version of a file is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgevit.base.documents import NanFloat, from_plain, read_json
from edgevit.base.errors import ModelFileError, in_one_line
from edgevit.core.benchmarks import BENCHMARK_KIND, BenchmarkResult
from edgevit.core.manifest import MANIFEST_SUFFIX
from edgevit.core.measurements import Measurement
from edgevit.core.parity import AccuracyReport, ParityReport, TaskReport
from edgevit.core.report import FileReport, Latency, NamedValue

# The key that tells a document -> those that are read; the first key that it has counts.
KEYS = {
    "profile": ("rows",),
    "layers": ("layers",),
    "runs": ("runs", "accuracy", "real_images", "arena_bytes"),
    "arena_bytes": ("arena_bytes",),
}


@dataclass(frozen=True)
class _Layer:
    layer: str
    relative: NanFloat


@dataclass(frozen=True)
class _Operator:
    name: str
    time_us: float


@dataclass(frozen=True)
class Finding:
    """The measurements of one file in one document, or in one row of it.

    Attributes:
        file: name or path; None: the document's own name tells.
        sha256: of the file; None where the document does not say.
        runs: golden images against the float model (``edgevit verify --json``).
        accuracy: on labelled images (``edgevit verify`` or ``evaluate``).
        figures: of another task than top-1 accuracy (``edgevit evaluate``).
        real_images: parity on these images (``edgevit verify``).
        test_images: likewise (benchmarks/accuracy_of_targets.py).
        arena_bytes: working memory (``edgevit verify --runtime tflm``).
        rows: times (``edgevit profile --json``).
        layers: errors (``edgevit diff --json``).
        latency: rows of ``edgevit benchmark --out``.
        failure: why nothing was measured; empty if something was.
    """

    file: str | None = None
    sha256: str | None = None
    runs: tuple[ParityReport, ...] = ()
    accuracy: AccuracyReport | None = None
    figures: TaskReport | None = None
    real_images: ParityReport | None = None
    test_images: ParityReport | None = None
    arena_bytes: int | None = None
    rows: tuple[_Operator, ...] = ()
    layers: tuple[_Layer, ...] = ()
    latency: tuple[Latency, ...] = ()
    failure: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of the file."""
        return replace(self, file=None, sha256=None) == Finding()

    @property
    def is_float(self) -> bool:
        """Whether it is about the float model."""
        return self.accuracy is not None and self.accuracy.runtime == "keras"

    def put(self, entry: FileReport) -> FileReport:
        """The report of the file with what was found."""
        times = tuple(NamedValue(row.name, row.time_us) for row in self.rows)
        known = (row for row in self.layers if row.relative == row.relative)  # no NaN
        return replace(
            entry,
            parity=entry.parity or self.runs,
            accuracy=self.accuracy or entry.accuracy,
            figures=self.figures or entry.figures,
            agreement=self.real_images or self.test_images or entry.agreement,
            arena_bytes=self.arena_bytes or entry.arena_bytes,
            times=times or entry.times,
            errors=tuple(NamedValue(row.layer, row.relative) for row in known) or entry.errors,
            latency=(*entry.latency, *self.latency),
        )


@dataclass
class Evidence:
    """The files, and what was put to them so far.

    Attributes:
        files: by name.
        float_accuracy: of the float model.
        ignored: documents that say nothing here, with the reason.
        warnings: what a reader must know before believing a figure.
    """

    files: dict[str, FileReport]
    float_accuracy: AccuracyReport | None = None
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Reads one document; one that says nothing here is noted."""
        try:
            document = read_json(path)
        except ModelFileError as error:
            self.ignored.append(f"{path.name}: no JSON ({in_one_line(error, 160)})")
            return
        try:
            findings, warnings = read_findings(document)
        except Exception as error:  # anybody's JSON may lie here: it must not cost the report
            self.ignored.append(f"{path.name}: cannot be read ({str(error)[:160]})")
            return
        self.warnings += warnings
        reasons = [reason for finding in findings if (reason := self._place(path, finding))]
        if reasons:
            self.ignored.append(f"{path.name}: {'; '.join(dict.fromkeys(reasons))}")
        floats = [finding.accuracy for finding in findings if finding.is_float]
        if floats and (len(findings) == 1 or len(reasons) < len(findings) - len(floats)):
            self.float_accuracy = floats[0]  # of the model that files here came from

    def _place(self, path: Path, finding: Finding) -> str:
        """Puts a finding to its file, or returns why it has none."""
        if finding.is_float or finding.failure:
            return finding.failure
        if finding.is_empty:
            return "not the output of an edgevit command"
        sound = {name: entry for name, entry in self.files.items() if not entry.damage}
        base = Path(finding.file).name if finding.file else ""
        reason = f"is about {base or 'a file'}, which is not here or is damaged"
        if finding.sha256:
            reason = f"was measured with another version of {base or 'a file'}"
            named = [name for name, entry in sound.items() if entry.sha256 == finding.sha256]
        elif base:
            named = [base] if base in sound else []
        else:
            own = [name for name in sound if path.name.startswith((name, Path(name).stem + "."))]
            named = sorted(own, key=len, reverse=True)
        if not named:
            return reason
        self.files[named[0]] = finding.put(self.files[named[0]])
        return ""


def list_documents(folders: Sequence[Path]) -> list[Path]:
    """JSON files in folders (and one level below), and those given by name; no manifests."""
    found: list[Path] = []
    for place in folders:
        if place.is_dir():
            found += [*place.glob("*.json"), *place.glob("*/*.json")]
        else:
            found.append(place)
    return sorted({path for path in found if not path.name.endswith(MANIFEST_SUFFIX)})


def read_findings(document: Any) -> tuple[list[Finding], tuple[str, ...]]:
    """(what a document says, what a reader must know before believing it).

    Raises:
        ValueError: a field is of the wrong kind.
        ModelFileError: a benchmark's result that is damaged, or written by a newer version.
    """
    if not isinstance(document, dict):
        return [Finding()], ()
    if document.get("kind") == BENCHMARK_KIND:
        result = BenchmarkResult.from_document(document, "a benchmark")
        return [_read_row(result, row) for row in result.rows], result.warnings
    if {"top1", "top5", "images"} <= document.keys():  # of edgevit evaluate
        named = {"file": document.get("model"), "sha256": document.get("sha256")}
        return [from_plain(Finding, {**named, "accuracy": document})], ()
    if {"task", "figures", "figure"} <= document.keys():  # likewise, by another task
        named = {"file": document.get("model"), "sha256": document.get("sha256")}
        return [from_plain(Finding, {**named, "figures": document})], ()
    keras = document.get("keras")
    rows = {name: row for name, row in document.items() if name not in ("keras", "provenance")}
    if rows and all(isinstance(row, dict) and "accuracy" in row for row in rows.values()):
        return _read_targets(rows, keras), ()
    document = _upgrade(document)
    told = next((key for key in KEYS if key in document), "")
    known = ("file", "sha256", *KEYS.get(told, ()))
    return [from_plain(Finding, {key: document[key] for key in known if key in document})], ()


def _read_targets(rows: dict[str, Any], keras: Any) -> list[Finding]:
    """Rows of benchmarks/accuracy_of_targets.py: files by target, and the float model."""
    found = from_plain(dict[str, Finding], {name: _upgrade(row) for name, row in rows.items()})
    if any(row.sha256 is None for row in found.values()):
        raise ValueError("it does not say which files it measured; run the script again")
    files = [replace(row, file=target) for target, row in found.items()]
    return [*files, *([from_plain(Finding, {"accuracy": keras})] if keras else [])]


def _upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Parity reports of before outputs were told apart as those of now."""
    found = dict(document)
    for key in ("real_images", "test_images"):
        if isinstance(found.get(key), dict):
            found[key] = ParityReport.upgrade(found[key])
    if isinstance(found.get("runs"), list):
        found["runs"] = [
            ParityReport.upgrade(run) if isinstance(run, dict) else run for run in found["runs"]
        ]
    return found


def _read_row(result: BenchmarkResult, row: Measurement) -> Finding:
    if not row.measured:
        return Finding(failure=f"{row.case.file}: {row.failure or 'no samples'}")
    limit, median = result.limit(row), row.median_ms
    several = len(row.latency_ns) >= 5
    latency = Latency(
        runtime=row.case.runtime,
        threads=row.case.threads,
        batch=row.batch,
        median_ms=median.middle,
        low_ms=median.low if several else None,
        high_ms=median.high if several else None,
        p95_ms=row.p95_ms,
        cold_ms=row.cold_start_ms if row.first_ns else None,
        peak_bytes=row.peak_bytes or None,
        machine=str(result.environment),
        roofline=limit.milliseconds / median.middle if limit else None,
    )
    return Finding(row.case.file, row.sha256, latency=(latency,))
