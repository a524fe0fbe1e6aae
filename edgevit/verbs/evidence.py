"""What other commands measured, read back from their JSON and put to the files it belongs to.

Each reader takes one kind of document: it is told apart by its keys, not by its name. A document
says which file it is about by the digest; one without a digest by the file's name, or by its own
(``FILE.accuracy.json``). What was measured with another version of a file is not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgevit.base.errors import ModelFileError
from edgevit.core.benchmarks import BENCHMARK_KIND, BenchmarkResult
from edgevit.core.manifest import MANIFEST_SUFFIX
from edgevit.core.measurements import Measurement
from edgevit.core.parity import AccuracyReport, OutputParity, ParityReport
from edgevit.core.report import FileReport, Latency, NamedValue

_ERROR_KEYS = ("relative", "error", "relative_error", "mse", "max_abs")


class Misplaced(Exception):
    """A document that belongs to no file here."""


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
            document = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            self.ignored.append(f"{path.name}: no JSON ({' '.join(str(error).split())[:80]})")
            return
        for fits, read in READERS:
            if isinstance(document, dict) and fits(document):
                try:
                    read(self, path, document)
                except (Misplaced, ModelFileError) as reason:
                    self.ignored.append(f"{path.name}: {reason}")
                except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                    self.ignored.append(f"{path.name}: cannot be read ({error!r:.80})")
                return
        self.ignored.append(f"{path.name}: not the output of an edgevit command")

    def find(
        self, path: Path, file: str | None = None, sha256: str | None = None, target: str = ""
    ) -> str:
        """Name of the file that a document is about.

        Raises:
            Misplaced: there is none, or the file changed since.
        """
        sound = {name: entry for name, entry in self.files.items() if not entry.damage}
        base = Path(file).name if file else ""
        own = [name for name in sound if path.name.startswith((name, Path(name).stem + "."))]
        if sha256:
            for name, entry in sound.items():
                if entry.sha256 == sha256:
                    return name
            about = base if base in self.files else target
            raise Misplaced(f"was measured with another version of {about or 'a file'}")
        if base in sound:
            return base
        if own and not base:
            return max(own, key=len)
        raise Misplaced(f"is about {base or 'a file'}, which is not here or is damaged")


def list_documents(folders: Sequence[Path]) -> list[Path]:
    """JSON files in folders (and one level below), and those given by name; no manifests."""
    found: list[Path] = []
    for place in folders:
        if place.is_dir():
            found += [*place.glob("*.json"), *place.glob("*/*.json")]
        else:
            found.append(place)
    return sorted({path for path in found if not path.name.endswith(MANIFEST_SUFFIX)})


def read_accuracy(document: dict[str, Any]) -> AccuracyReport:
    """The AccuracyReport of ``edgevit evaluate --json``.

    Raises:
        KeyError: a figure is missing.
        ValueError: a figure makes no sense.
    """
    found = AccuracyReport(
        images=int(document["images"]),
        top1=float(document["top1"]),
        top5=float(document["top5"]),
        runtime=str(document.get("runtime", "")),
        source=str(document.get("source", "")),
        seconds=float(document.get("seconds") or 0.0),
    )
    if found.images < 1 or not 0 <= found.top1 <= 100 or not 0 <= found.top5 <= 100:
        raise ValueError(f"{found.images} images, {found.top1} and {found.top5} %")
    return found


def read_parity(document: dict[str, Any]) -> ParityReport:
    """A ParityReport of ``edgevit verify --json``; a null is a NaN, which fails."""

    def number(key: str, values: dict[str, Any] = document) -> float:
        return float("nan") if values[key] is None else float(values[key])

    others = tuple(
        OutputParity(
            str(other["name"]),
            int(other["images"]),
            *(number(key, other) for key in ("max_abs", "relative", "largest")),
        )
        for other in document.get("others", ())
    )
    return ParityReport(
        runtime=str(document["runtime"]),
        images=int(document["images"]),
        max_abs=number("max_abs"),
        mean_abs=number("mean_abs"),
        relative=number("relative"),
        top1_agreement=number("top1_agreement"),
        others=others,
    )


def _add_verification(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    name = evidence.find(path, document.get("file"), document.get("sha256"))
    entry = evidence.files[name]
    runs = tuple(read_parity(run) for run in document["runs"])
    accuracy = document.get("accuracy")
    real = document.get("real_images")
    evidence.files[name] = replace(
        entry,
        parity=entry.parity or runs,
        accuracy=read_accuracy(accuracy) if accuracy else entry.accuracy,
        agreement=read_parity(real) if real else entry.agreement,
    )


def _add_accuracy(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    if document.get("runtime") == "keras":
        evidence.float_accuracy = read_accuracy(document)
        return
    name = evidence.find(path, document.get("model"), document.get("sha256"))
    evidence.files[name] = replace(evidence.files[name], accuracy=read_accuracy(document))


def _add_targets(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    """The table of benchmarks/accuracy_of_targets.py."""
    reasons = []
    for target, row in document.items():
        if target == "keras":
            continue
        if "sha256" not in row:
            raise Misplaced("does not say which files it measured; run the script again")
        try:
            name = evidence.find(path, None, row["sha256"], target)
        except Misplaced as reason:
            reasons.append(f"{target} {reason}")
            continue
        real = row.get("test_images")
        evidence.files[name] = replace(
            evidence.files[name],
            accuracy=read_accuracy(row["accuracy"]),
            agreement=read_parity(real) if real else evidence.files[name].agreement,
        )
    if reasons:
        evidence.ignored.append(f"{path.name}: {'; '.join(reasons)}")
    if "keras" in document and len(reasons) < len(document) - 1:
        evidence.float_accuracy = read_accuracy(document["keras"])


def _add_benchmark(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    """The result that ``edgevit benchmark --out`` writes."""
    result = BenchmarkResult.from_text(json.dumps(document), path.name)
    reasons = []
    for row in result.rows:
        if not row.measured:
            reasons.append(f"{row.case.file}: {row.failure or 'no samples'}")
            continue
        try:
            name = evidence.find(path, row.case.file, row.sha256)
        except Misplaced as reason:
            reasons.append(str(reason))
            continue
        entry = evidence.files[name]
        latency = (*entry.latency, _read_latency(result, row))
        evidence.files[name] = replace(entry, latency=latency)
    if reasons:
        evidence.ignored.append(f"{path.name}: {'; '.join(dict.fromkeys(reasons))}")
    evidence.warnings += result.warnings


def _read_latency(result: BenchmarkResult, row: Measurement) -> Latency:
    limit, median = result.limit(row), row.median_ms
    several = len(row.latency_ns) >= 5
    return Latency(
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


def _add_profile(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    name = evidence.find(path, document["file"], document.get("sha256"))
    times = tuple(NamedValue(str(row["name"]), float(row["time_us"])) for row in document["rows"])
    evidence.files[name] = replace(evidence.files[name], times=times)


def _add_errors(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    name = evidence.find(path, document.get("file"), document.get("sha256"))
    key = next((key for key in _ERROR_KEYS if key in document["layers"][0]), None)
    if key is None:
        raise Misplaced(f"its layers have none of {', '.join(_ERROR_KEYS)}")
    errors = tuple(
        NamedValue(str(row.get("layer") or row["name"]), float(row[key]))
        for row in document["layers"]
        if row.get(key) is not None
    )
    evidence.files[name] = replace(evidence.files[name], errors=errors)


def _add_arena(evidence: Evidence, path: Path, document: dict[str, Any]) -> None:
    name = evidence.find(path, document.get("file"), document.get("sha256"))
    evidence.files[name] = replace(evidence.files[name], arena_bytes=int(document["arena_bytes"]))


def _is_target_table(document: dict[str, Any]) -> bool:
    rows = [row for key, row in document.items() if key != "keras"]
    return bool(rows) and all(isinstance(row, dict) and "accuracy" in row for row in rows)


Reader = Callable[[Evidence, Path, dict[str, Any]], None]
# In the order in which they are asked.
READERS: tuple[tuple[Callable[[dict[str, Any]], bool], Reader], ...] = (
    (lambda d: "rows" in d and "profile" in d, _add_profile),
    (lambda d: d.get("kind") == BENCHMARK_KIND, _add_benchmark),
    (lambda d: "verdict" in d and "runs" in d, _add_verification),
    (lambda d: {"top1", "top5", "images"} <= d.keys(), _add_accuracy),
    (lambda d: isinstance(d.get("layers"), list) and bool(d["layers"]), _add_errors),
    (lambda d: "arena_bytes" in d, _add_arena),
    (_is_target_table, _add_targets),
)
