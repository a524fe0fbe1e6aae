"""``edgevit benchmark``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import benchmark_text, console, options
from edgevit.formats.registry import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgevit.core.benchmarks import BenchmarkResult
    from edgevit.core.measurements import BenchmarkCase, Measurement

INCONCLUSIVE_CODE = 3


@click.command()
@click.argument("files", nargs=-1, required=True, type=options.PATH)
@click.option(
    "--runtime",
    "runtimes",
    default="",
    show_default=False,
    metavar="NAME,...",
    callback=options.parse_names,
    help=f"{', '.join(RUNTIMES)}.  [default: the usual one of each file]",
)
@click.option(
    "--threads",
    default="1",
    metavar="N,...",
    callback=options.parse_counts,
    help="Of the kernels; several are measured each.",
)
@click.option(
    "--batch",
    "batches",
    metavar="N,...",
    callback=options.parse_counts,
    help="Images in an inference; more than one takes a file exported with --batch dynamic.  "
    "[default: the file's own]",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    help="gpu: onnxruntime's CUDA provider, or TensorFlow. Needs edgevit[gpu].",
)
@click.option(
    "--against",
    type=options.PATH,
    metavar="FILE|RESULT.json",
    help="What ratios refer to: a file (measured along), or an earlier result of this machine.  "
    "[default: the first row]",
)
@click.option(
    "--rounds",
    type=options.COUNT,
    help="Turns of each row.  [default: 30; with --baseline, at most 64]",
)
@click.option(
    "--baseline",
    type=options.PATH,
    metavar="FILE|RESULT.json",
    help="Gate: hold each FILE against this one, or against the files that a result names.",
)
@click.option(
    "--max-slowdown",
    default="5%",
    callback=options.parse_share,
    help="Gate: how much slower than the baseline a file may be.",
)
@click.option(
    "--inconclusive-ok", is_flag=True, help="Gate: exit with 0, not 3, where no verdict is clear."
)
@click.option(
    "--roofline",
    is_flag=True,
    help="Also measure the machine's matrix products and memory, and say how near each row is.",
)
@click.option(
    "--instructions",
    is_flag=True,
    help="Also count instructions per inference by valgrind; a minute or so for each row.",
)
@click.option("--seed", type=int, default=0, help="Of the order of turns.")
@click.option(
    "--time-limit",
    "limit_s",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    metavar="SECONDS",
    help="For one answer of a worker process; one that takes longer is stopped.",
)
@click.option("--out", type=options.PATH, help="Write raw samples and environment as JSON.")
@options.as_json
def benchmark(
    files: tuple[Path, ...],
    against: Path | None,
    baseline: Path | None,
    max_slowdown: float,
    inconclusive_ok: bool,
    out: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Measure how fast FILES are, side by side.

    SavedModel, TFLite and ONNX files may be mixed. Every file, runtime, number of threads and batch
    has a process of its own. They warm up until their time stands still, then take turns in random
    order, one at a time, so that a change of the machine's speed meets all of them.

    +-: half of the median's 95 % bootstrap interval. cold: load and first inference. peak: memory
    of the whole process. ratio: of time, paired by rounds, with its 95 % bootstrap interval. A row
    marked ~ did not settle.

    With --baseline it is a gate. Old and new run side by side, in several processes each, until the
    interval of the ratio lies on one side of the limit: exit code 0 is ok, 1 is slower (or a file
    that does not run), 3 is inconclusive.

    \b
    edgevit benchmark exports/*.tflite exports/*.onnx
    edgevit benchmark new.tflite --against old.tflite --threads 1,2
    edgevit benchmark free.onnx --batch 1,4,16 --out result.json
    edgevit benchmark new.tflite --baseline old.tflite --max-slowdown 5%
    """
    from edgevit.base.files import check_place, write_whole
    from edgevit.bench.cases import plan_cases

    # What cannot be measured is refused before a folder is made.
    told = ("runtimes", "threads", "batches", "device")
    cases = plan_cases(files, *(chosen[name] for name in told))
    if chosen["instructions"]:
        from edgevit.bench.instructions import find_valgrind

        find_valgrind()
    if out is not None:
        check_place(out)
    if baseline is not None:
        from edgevit.cli.gate import run_gates

        limits = {name: chosen[name] for name in ("rounds", "seed", "limit_s")}
        code = run_gates(cases, baseline, max_slowdown, out, as_json, **limits)
        sys.exit(0 if code == INCONCLUSIVE_CODE and inconclusive_ok else code)
    from edgevit.verbs.benchmark import benchmark as run

    recorded = None if against is None else _read_recorded(against, cases)
    if chosen["rounds"] is None:
        del chosen["rounds"]
    with console.working(still=True) as work:

        def watch(status: str, done: int, total: int, rows: Sequence[Measurement]) -> None:
            work.status(status)
            work.advance(done, total)
            work.show(benchmark_text.live(rows))

        measured_along = against if recorded is None else None
        result = run(files, against=measured_along, watch=watch, **chosen)
    if recorded is not None:
        result = replace(result, reference=None)
    if out is not None:
        write_whole(out, result.to_text().encode())
    _answer(result, recorded, str(against), as_json)


def _read_recorded(against: Path, cases: Sequence[BenchmarkCase]) -> BenchmarkResult | None:
    """An earlier result of this machine; None where the path is a file to measure.

    Raises:
        ConfigError: it comes from another machine.
    """
    from edgevit.bench.baseline import check_machine, is_result, read_result

    if not is_result(against):
        return None
    recorded = read_result(against)
    check_machine(recorded, cases, str(against))
    return recorded


def _answer(
    result: BenchmarkResult, recorded: BenchmarkResult | None, name: str, as_json: bool
) -> None:
    """Prints a result; exits with 1 where a row failed."""
    from edgevit.reports.text import summarise_benchmark

    summary = summarise_benchmark(result)
    if recorded is not None:
        _compare_recorded(summary, result, recorded, name)
    document = {
        "rows": summary,
        "warnings": list(result.warnings),
        "environment": result.environment,
        "reference": result.reference,
    }
    if result.roofline is not None:
        document |= benchmark_text.describe_roofs(result.roofline)
    console.answer(document, as_json, lambda: benchmark_text.text(result, summary))
    for row in result.rows:
        if row.failure:
            console.say(f"edgevit: error: {row.case.file} in {row.case.runtime}: {row.failure}")
    for warning in result.warnings:
        console.say(f"edgevit: warning: {warning}.")
    if result.failed:
        sys.exit(1)


def _compare_recorded(
    summary: list[dict[str, Any]], result: BenchmarkResult, recorded: BenchmarkResult, name: str
) -> None:
    """Ratios to an earlier result of this machine; not paired, so the machine's mood is in them."""
    from edgevit.base.statistics import unpaired_ratio
    from edgevit.bench.baseline import find_row

    for figures, row in zip(summary, result.rows, strict=True):
        if row.measured:
            old = find_row(recorded, row.case, name)
            ratio = unpaired_ratio(row.round_medians_ns, old.round_medians_ns)
            figures |= {"ratio": ratio.middle, "ratio_interval": [ratio.low, ratio.high]}
