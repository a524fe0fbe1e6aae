"""A folder of exported files, with all that is known of them, as one report."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgevit.attribution.explanation import METHODS
from edgevit.base.documents import from_plain
from edgevit.base.errors import (
    DataError,
    EdgevitError,
    MissingDependencyError,
    ModelFileError,
    in_one_line,
)
from edgevit.base.files import check_place, digest_path, size_path, write_whole
from edgevit.base.packages import REPORT, require
from edgevit.base.printing import printable
from edgevit.base.progress import Status, tells_status
from edgevit.bench.profile import record_environment
from edgevit.core.format import Format
from edgevit.core.manifest import RUNS, Manifest, find_change, read_manifest_file
from edgevit.core.parity import Verdict
from edgevit.core.report import FileReport, Gap, Picture, Report
from edgevit.core.seal import find_damage
from edgevit.formats.registry import detect_format, list_targets, read_metadata
from edgevit.verbs.evidence import Evidence, Finding, list_documents
from edgevit.verbs.verify import verify
from edgevit.verification.audit import inspect

PICTURES = 12  # at most, in one page
PICTURE_SIDE = 900  # pixels


def collect_report(
    folder: str | Path,
    evidence: Sequence[Path] = (),
    run: bool = False,
    title: str | None = None,
    status: Status | None = None,
) -> Report:
    """Reads every exported file in a folder and the measurements beside them.

    Args:
        folder: of exported files.
        evidence: more JSON files of other commands, and folders of them and of pictures.
        run: run each file against its golden images, as :func:`verify` does.
        title: of the page; None: the models' names.
        status: called with a line about what is being done.

    Raises:
        ModelFileError: no such folder, or no exported file in it.
    """
    say = status or (lambda line: None)
    folder = Path(folder)
    paths = list_exports(folder)
    for place in evidence:
        if not place.exists():
            raise ModelFileError(f"{place}: no such file or folder.")
    known: dict[str, FileReport] = {}
    for path in paths:
        say(f"reading {path.name}")
        known[path.name] = _read_file(path, run, say)
    found = Evidence(known)
    places = [folder, *evidence]
    for document in list_documents(places):
        found.add(document)
    files = tuple(sorted((_recall(found.files[path.name], path) for path in paths), key=_rank))
    models = sorted({file.manifest.model for file in files if file.manifest})
    pictures = tuple(_read_pictures(places, found.ignored))
    return Report(
        title=title or ", ".join(models) or folder.resolve().name,
        folder=str(folder),
        files=files,
        pictures=pictures,
        gaps=tuple(_find_gaps(files, bool(pictures), folder)),
        ignored=tuple(found.ignored),
        environment=record_environment(),
        float_accuracy=found.float_accuracy,
        warnings=tuple(dict.fromkeys(found.warnings)),
    )


@dataclass(frozen=True)
class WrittenReport:
    """A page on disk.

    Attributes:
        path: of the page.
        report: what it says.
        size_bytes: of the page.
    """

    path: Path
    report: Report
    size_bytes: int


@tells_status
def write_report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    evidence: Sequence[Path] = (),
    markdown: bool = False,
    run: bool = False,
    title: str | None = None,
    status: Status | None = None,
) -> WrittenReport:
    """Writes one page about the exported files in a folder, whole.

    Args:
        folder: of exported files.
        out: the page; None: report.html, or report.md, in the folder.
        evidence, run, title, status: see :func:`collect_report`.
        markdown: Markdown instead of HTML.

    Raises:
        ModelFileError: no such folder, or no exported file in it.
    """
    if not markdown:
        require("A page of HTML", REPORT)
    from edgevit.reports.markdown import render_markdown
    from edgevit.reports.page import render_html

    folder = Path(folder)
    place = Path(out) if out else folder / ("report.md" if markdown else "report.html")
    if folder.is_dir():
        check_place(place)
    found = collect_report(folder, evidence, run, title, status)
    text = render_markdown(found) if markdown else render_html(found)
    data = printable(text).encode()  # a file's name may hold anything
    write_whole(place, data)
    return WrittenReport(place, found, len(data))


def list_exports(folder: Path) -> list[Path]:
    """Files and folders that a runtime could read, in the order of the targets, then by name.

    Raises:
        ModelFileError: no such folder, or nothing of the kind in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise ModelFileError(f"{folder}: {what}. Give the folder that 'edgevit export' wrote to.")
    found = []
    for path in sorted(folder.iterdir()):
        try:
            detect_format(path)
        except ModelFileError:
            continue
        found.append(path)
    if not found:
        raise ModelFileError(
            f"{folder}: holds no exported file. Run: edgevit export shiftvit --format all --out "
            f"{folder}"
        )
    order = list(list_targets())

    def place(path: Path) -> tuple[int, str]:
        ends = [number for number, name in enumerate(order) if path.stem.endswith(name)]
        return (ends[-1] if ends else len(order), path.name)

    return sorted(found, key=place)


def _read_file(path: Path, run: bool, say: Status) -> FileReport:
    kind = detect_format(path)
    entry = FileReport(path.name, str(kind), size_path(path), digest_path(path))
    try:
        damage, manifest = find_damage(path) or find_change(path), _read_manifest(path)
    except EdgevitError as error:
        damage, manifest = find_damage(path) or f"its metadata cannot be read ({error})", None
    entry = replace(entry, damage=damage, manifest=manifest)
    target = list_targets().get(manifest.target) if manifest else None
    if target:
        entry = replace(entry, summary=target.summary, tolerance=target.tolerance)
    if damage:  # a damaged file is not opened: it may take the runtime's process down
        return entry
    notes = []
    if kind is not Format.SAVEDMODEL or run:  # TensorFlow takes seconds to start
        try:
            entry = replace(entry, contents=inspect(path))
        except EdgevitError as error:
            notes.append(str(error))
    if run and manifest:
        try:
            entry = replace(entry, parity=verify(path, status=say).reports)
        except EdgevitError as error:
            notes.append(str(error))
    return replace(entry, notes=tuple(notes))


def _recall(entry: FileReport, path: Path) -> FileReport:
    """The report of a file; where nothing newer is known, with what its export measured."""
    if entry.parity or entry.damage:
        return entry
    document = read_manifest_file(path) or {}
    try:
        found = from_plain(Finding, {"runs": document.get(RUNS, [])})
    except ValueError as error:
        note = f"what its export measured cannot be read ({in_one_line(error, 120)})"
        return replace(entry, notes=(*entry.notes, note))
    return replace(entry, parity=found.runs, at_export=bool(found.runs))


def _rank(entry: FileReport) -> int:
    """Files that failed stand first, then those that are lossy; the others keep their order."""
    return (Verdict.FAIL, Verdict.LOSSY, entry.verdict).index(entry.verdict)


def _read_manifest(path: Path) -> Manifest | None:
    """The manifest inside a file; the one beside it where its format's package is missing."""
    try:
        return read_metadata(path).manifest
    except MissingDependencyError:
        beside = read_manifest_file(path)
        return Manifest.from_document(beside, path.name) if beside else None


def _read_pictures(places: Sequence[Path], ignored: list[str]) -> list[Picture]:
    """Drawings of ``edgevit explain`` in the folders and one level below, as data URIs."""
    from PIL import Image

    from edgevit.data.images import read_image

    paths = sorted(
        {
            path
            for place in places
            if place.is_dir()
            for path in (*place.glob("*.png"), *place.glob("*/*.png"))
            if path.stem.endswith(METHODS)  # of edgevit explain, in file names
        }
    )
    if len(paths) > PICTURES:
        ignored.append(f"{len(paths) - PICTURES} more drawings: a page holds {PICTURES}")
    found = []
    for path in paths[:PICTURES]:
        try:
            picture = Image.fromarray(read_image(path))
        except DataError as error:
            ignored.append(f"{path.name}: no picture ({in_one_line(error, 120)})")
            continue
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=85)
        data = base64.b64encode(stream.getvalue()).decode()
        found.append(Picture(path.stem, f"data:image/jpeg;base64,{data}", *picture.size))
    return found


def _find_gaps(files: Sequence[FileReport], pictures: bool, folder: Path) -> list[Gap]:
    sound = [file for file in files if not file.damage] or list(files)
    sample = next((file for file in sound if file.format != Format.SAVEDMODEL), sound[0])
    one = folder / sample.name
    suffixes = dict.fromkeys(Path(file.name).suffix for file in sound if Path(file.name).suffix)
    every = " ".join(f"{folder}/*{suffix}" for suffix in suffixes) or str(one)
    benchmark = f"edgevit benchmark {every} --roofline --out {folder / 'benchmark.json'}"
    latencies = [row for file in files for row in file.latency]
    unverified = [f for f in files if f.manifest and not f.damage and not f.parity]
    rows = (
        (
            not unverified,
            "parity: the files were not run against their golden images",
            f"edgevit report {folder} --verify",
        ),
        (
            not any(file.at_export for file in files),
            "parity on this machine: the figures are those of the export",
            f"edgevit report {folder} --verify",
        ),
        (
            any(file.accuracy for file in files),
            "accuracy and agreement on real images",
            f"edgevit verify {one} --data PATH --json > {one}.verify.json",
        ),
        (bool(latencies), "latency, and how near it comes to the machine's limit", benchmark),
        (
            not latencies or any(row.roofline is not None for row in latencies),
            "roofline: how near the latency comes to the machine's limit",
            benchmark,
        ),
        (
            any(file.times for file in files),
            "where the time goes",
            f"edgevit profile {one} --by layer --json > {one}.profile.json",
        ),
        (
            pictures,
            "where the network looks",
            f"edgevit explain {one} IMAGE... --out {folder / 'explanations'}",
        ),
    )
    return [Gap(what, command) for there, what, command in rows if not there]
