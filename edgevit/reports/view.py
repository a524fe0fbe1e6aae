"""A report's values as the texts and bars that pages show. HTML and Markdown share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgevit.core.parity import MEASURES, SAMPLES, AccuracyReport, TaskReport, Verdict
from edgevit.core.report import FileReport, Latency, NamedValue, Report, wilson_interval
from edgevit.core.tensors import TensorSpec, show_shape
from edgevit.reports.scatter import Point
from edgevit.reports.text import summarise_parity

BARS = 10
POINTS = 1.0  # of top-1 accuracy that a recommended file may be below the best


@dataclass(frozen=True)
class Column:
    """One column of the summary.

    Attributes:
        title: heading.
        text: of a file; empty where nothing is known.
        note: small print below it.
    """

    title: str
    text: Callable[[FileReport], str]
    note: Callable[[FileReport], str] = lambda file: ""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart of bars.

    Attributes:
        name: before it.
        percent: its length, of the longest.
        text: after it.
    """

    name: str
    percent: float
    text: str


def megabytes(size_bytes: int) -> str:
    """Bytes as text, in units of 10^6 or 10^3."""
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: "1 part", "2 parts"."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def verdict_text(file: FileReport) -> str:
    """The verdict of a file in words."""
    if file.damage:
        return "damaged"
    if file.manifest is None:
        return "no manifest"
    if file.verdict is Verdict.NOT_RUN:
        return "intact"
    return str(file.verdict)


def verdict_kind(file: FileReport) -> str:
    """good, bad or open: how a verdict looks."""
    kinds = {Verdict.PASS: "good", Verdict.LOSSY: "bad", Verdict.FAIL: "bad"}
    return kinds.get(file.verdict, "open")


def accuracy_text(accuracy: AccuracyReport | None) -> str:
    """Top-1 in percent."""
    return f"{accuracy.top1:.2f} %" if accuracy else ""


def figure_text(found: TaskReport | None) -> str:
    """The first figure of a task and its name; empty where it was not measured."""
    return f"{found.figure} {next(iter(found.figures.values())):.4g}" if found else ""


def figure_note(found: TaskReport | None) -> str:
    """Its interval, and what it was measured on."""
    if not found:
        return ""
    low, high = found.interval
    return f"{low:.3g} to {high:.3g}, {found.images:,} samples"


def accuracy_range(accuracy: AccuracyReport) -> tuple[float, float]:
    """95 % interval of the top-1 accuracy, in percent."""
    low, high = wilson_interval(accuracy.top1 / 100, accuracy.images)
    return 100 * low, 100 * high


def accuracy_note(accuracy: AccuracyReport | None) -> str:
    """The interval, and the images behind it."""
    if not accuracy:
        return ""
    low, high = accuracy_range(accuracy)
    return f"{low:.1f} to {high:.1f}, {accuracy.images:,} images"


def latency_text(latency: Latency | None) -> str:
    """Median in milliseconds."""
    return f"{latency.median_ms:.3g} ms" if latency else ""


def latency_note(latency: Latency | None) -> str:
    """The interval, and what was run."""
    if not latency:
        return ""
    parts = [f"p95 {latency.p95_ms:.3g}"]
    if latency.low_ms is not None and latency.high_ms is not None:
        parts.insert(0, f"{latency.low_ms:.3g} to {latency.high_ms:.3g}")
    if latency.threads != 1:
        parts.append(f"{latency.threads} threads")
    if latency.batch != 1:
        parts.append(f"batch {latency.batch}")
    return ", ".join(parts)


def _parity(file: FileReport) -> str:
    if not file.parity:
        return ""
    return f"{100 * summarise_parity(file.parity)['relative']:.2g} %"


def _samples(file: FileReport) -> str:
    if not file.parity:
        return ""
    when = ", at export" if file.at_export else ""
    return f"{min(run.images for run in file.parity)} images{when}"


def _agreement(file: FileReport) -> str:
    found = file.agreement.top1_agreement if file.agreement else float("nan")
    return f"{100 * found:.2f} %" if found == found else ""


def _roofline(file: FileReport) -> str:
    row = file.fastest
    return f"{100 * row.roofline:.0f} %" if row and row.roofline is not None else ""


def recommend(report: Report) -> str:
    """Which file to take: the smallest and the fastest of those that pass.

    Empty where fewer than two are there. Accuracy counts where it was measured: what is more than
    a point below the best is left out.
    """
    sound = [file for file in report.files if file.verdict is Verdict.PASS]
    best = max((file.accuracy.top1 for file in sound if file.accuracy), default=None)
    if best is not None:
        sound = [file for file in sound if file.accuracy and best - file.accuracy.top1 <= POINTS]
    if len(report.files) < 2 or not sound:
        return ""
    names = report.labels
    smallest = min(sound, key=lambda file: file.size_bytes)
    within = f" within {POINTS:g} point of the best top-1" if best is not None else " that passes"
    text = f"Smallest{within}: {names[smallest.name]}, {megabytes(smallest.size_bytes)}."
    timed = [(row.median_ms, file) for file in sound if (row := file.fastest)]
    if timed:
        fastest = min(timed, key=lambda pair: pair[0])[1]
        text += f" Fastest: {names[fastest.name]}, {latency_text(fastest.fastest)}."
    return text


COLUMNS = (
    Column("Size", lambda file: megabytes(file.size_bytes)),
    Column(
        "Difference",
        _parity,
        lambda file: _samples(file),
    ),
    Column("Top-1", lambda f: accuracy_text(f.accuracy), lambda f: accuracy_note(f.accuracy)),
    Column("Figure", lambda f: figure_text(f.figures), lambda f: figure_note(f.figures)),
    Column("Same as float", _agreement),
    Column("Latency", lambda f: latency_text(f.fastest), lambda f: latency_note(f.fastest)),
    Column("Roofline", _roofline),
    Column("Arena", lambda file: megabytes(file.arena_bytes) if file.arena_bytes else ""),
)


def shown_columns(report: Report) -> list[Column]:
    """Columns in which any file has something to say."""
    return [column for column in COLUMNS if any(column.text(file) for file in report.files)]


def facts(file: FileReport) -> Iterator[tuple[str, str]]:
    """Names and values of what is known of one file, that the summary does not show."""
    yield "SHA-256", file.sha256
    contents, manifest = file.contents, file.manifest
    if manifest:
        if file.summary:
            yield "Target", f"{manifest.target}: {file.summary}"
        yield (
            "Preprocessing",
            ("inside the file" if manifest.preprocess_inside else "left to the caller"),
        )
        if manifest.calibration:
            images, source = map(manifest.calibration.get, ("images", "source"))
            yield "Calibration", f"{images} images of {source}" if images else "yes"
        if manifest.class_names:
            yield "Classes", f"{len(manifest.class_names)}"
        yield "Weights' SHA-256", manifest.weights_sha256
    if contents:
        if contents.parameters:
            yield "Parameters and constants", f"{contents.parameters:,}"
        yield "Integers only", "yes" if contents.integer_only else "no"
        if contents.partitions:
            parts = count_noun(contents.partitions["delegated"], "part")
            left = count_noun(contents.partitions["left"], "operator")
            yield "XNNPACK", f"{parts}, {left} left to LiteRT's own kernels"
        yield "Input", "; ".join(map(_declared, contents.inputs))
        yield "Output", "; ".join(map(_declared, contents.outputs))
    for run in file.parity:
        for output in run.outputs:
            agreement = ""
            if output.agreement == output.agreement:  # no NaN
                title = MEASURES[output.role]
                agreement = f", {title} {100 * output.agreement:.1f} %"
            yield (
                f"{SAMPLES[run.samples]}, {run.runtime}, {output.name}",
                f"{output.images} samples, largest difference {output.max_abs:.2g}, mean "
                f"{100 * output.relative:.2g} % of the deviation{agreement}",
            )
    for row in file.latency:
        cold = f", cold start {row.cold_ms:.0f} ms" if row.cold_ms else ""
        peak = f", peak memory {megabytes(row.peak_bytes)}" if row.peak_bytes else ""
        yield (
            f"Latency, {row.runtime}",
            f"median {row.median_ms:.3g} ms ({latency_note(row)}); "
            f"{count_noun(row.threads, 'thread')}, batch {row.batch}{cold}{peak}; {row.machine}",
        )


def _declared(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} {show_shape(spec.shape)}"


def op_bars(file: FileReport) -> list[Bar]:
    """Operators by how often they occur."""
    ops = file.contents.ops if file.contents else {}
    values = [NamedValue(name, count) for name, count in ops.items()]
    return _bars(values, lambda value: f"{value:.0f}", summed=True)


def time_bars(file: FileReport) -> list[Bar]:
    """Layers or operators by their time, with their share of it."""
    whole = sum(part.value for part in file.times) or 1.0

    def text(value: float) -> str:
        return f"{value:,.0f} µs, {100 * value / whole:.0f} %"

    return _bars(file.times, text, summed=True)


def error_bars(file: FileReport) -> list[Bar]:
    """Layers by their error, the worst first."""
    worst = sorted(file.errors, key=lambda layer: -layer.value)
    return _bars(worst, lambda value: f"{value:.2g}", summed=False)


def _bars(values: Sequence[NamedValue], text: Callable[[float], str], summed: bool) -> list[Bar]:
    """The largest as bars, and one line for the others."""
    longest = max((value.value for value in values), default=0.0) or 1.0
    bars = [Bar(v.name, 100 * v.value / longest, text(v.value)) for v in values[:BARS]]
    rest = values[BARS:]
    if rest:
        total = text(sum(value.value for value in rest)) if summed else ""
        bars.append(Bar(f"{len(rest)} more", 0.0, total))
    return bars


@dataclass(frozen=True)
class Plot:
    """The scatter plot's points and texts.

    Attributes:
        title: heading.
        caption: below it.
        points: one for each file.
        x_label: axis below.
        y_label: axis on the left.
    """

    title: str
    caption: str
    points: tuple[Point, ...]
    x_label: str
    y_label: str


def choose_plot(report: Report) -> Plot | None:
    """Accuracy against latency; against size where no latency is known; None without accuracy."""
    scored = [file for file in report.files if file.accuracy]
    timed = [file for file in scored if file.fastest]
    by_time = len(timed) >= 2
    labels = report.labels
    points = tuple(
        _point(file, file.accuracy, file.fastest if by_time else None, labels[file.name])
        for file in (timed if by_time else scored)
        if file.accuracy
    )
    if len(points) < 2:
        return None
    area = "The area of a point is the size of its file; the" if by_time else "The"
    return Plot(
        "Accuracy, latency and size" if by_time else "Accuracy and size",
        f"Up and left is better. {area} line joins the files that no other beats in both ways; "
        "thin lines are 95 % intervals.",
        points,
        "latency in ms" if by_time else "size in MB",
        "top-1 in %",
    )


def _point(file: FileReport, accuracy: AccuracyReport, row: Latency | None, label: str) -> Point:
    upright = accuracy_range(accuracy)
    if row is None:
        return Point(label, file.size_bytes / 1e6, accuracy.top1, y_range=upright)
    across = None if row.low_ms is None or row.high_ms is None else (row.low_ms, row.high_ms)
    return Point(label, row.median_ms, accuracy.top1, file.size_bytes, across, upright)


def machine_text(report: Report) -> Iterator[tuple[str, str]]:
    """The machine and the tools behind the report."""
    found = report.environment
    sets = " ".join(found.get("instruction_sets") or ())
    cores = f"{found.get('cpu')}, {found.get('cores')} cores"
    yield "Processor", f"{cores}, {sets}" if sets else cores
    yield "System", f"{found.get('system')} {found.get('machine')}"
    yield "Versions", _versions((found.get("versions") or {}).items())
    measured = sorted({row.machine for file in report.files for row in file.latency})
    if measured:
        yield "Latency was measured on", "; ".join(measured)
    manifests = [file.manifest for file in report.files if file.manifest]
    made = {pair for manifest in manifests for pair in manifest.versions.items()}
    if made:
        yield "Files were exported with", _versions(sorted(made))


def _versions(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in pairs)
