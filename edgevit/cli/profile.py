"""``edgevit profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options

if TYPE_CHECKING:
    from edgevit.bench.profile import ProfileRow
    from edgevit.core.parity import Profile


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["op", "layer", "node", "kernel"]),
    default="op",
    show_default=True,
    help="Sum over operators, over Keras layers, over nodes of the file, or over what the "
    "runtime calls its kernels.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    help="With --by layer: only so many parts of a layer's path. Default: all.",
)
@click.option("--top", type=click.IntRange(min=1), default=15, show_default=True, help="Rows.")
@click.option(
    "--runtime",
    "kernels",
    metavar="NAME",
    help="litert-xnnpack (what devices run), litert-builtin or litert-reference; onnxruntime.",
)
@click.option("--runs", type=click.IntRange(min=1), default=50, show_default=True, help="Runs.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads."
)
@click.option(
    "--chart",
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="Bars as .png, .svg or .pdf.",
)
@options.as_json
def profile(
    file: Path,
    by: str,
    depth: int | None,
    top: int,
    kernels: str | None,
    runs: int,
    threads: int,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Show which operators and which Keras layers of FILE take the time.

    The file runs under its runtime's own profiler (LiteRT, onnxruntime), in turns with a second
    instance without it, so that the profiler's own cost is stated. Kernels that XNNPACK runs are
    put to the operators of the file that they compute.

    \b
    edgevit profile exports/shiftvit-tflite-int8.tflite
    edgevit profile exports/shiftvit-onnx-float32.onnx --by layer --depth 2
    edgevit profile exports/vit-tflite-int8.tflite --by layer --top 30 --chart layers.svg
    """
    from edgevit.base.files import check_writable
    from edgevit.bench.chart import check_chart_path, draw_profile
    from edgevit.bench.profile import group_rows
    from edgevit.bench.profile import profile as profile_file

    if chart:
        check_chart_path(chart)
        check_writable(chart.parent)
    with console.working() as work:
        work.status(f"running {file.name} {runs} times with the profiler and {runs} times without")
        found = profile_file(file, kernels, threads, runs)
    rows = group_rows(found, by, depth)
    if chart:
        title = f"{found.file}, {found.runtime}, {_threads(threads)}, by {by}"
        draw_profile(rows[:top], rows[top:], title, chart)
    console.answer(
        _document(found, rows, by, chart), as_json, lambda: _text(found, rows, by, top, chart)
    )


def _document(
    found: Profile, rows: list[ProfileRow], by: str, chart: Path | None
) -> dict[str, Any]:
    from edgevit.bench.profile import matrix_share, typical_us

    return {
        "file": found.file,
        "sha256": found.sha256,
        "runtime": found.runtime,
        "threads": found.threads,
        "runs": len(found.plain_us),
        "by": by,
        "rows": rows,
        "operators_us": sum(row.time_us for row in rows),
        "plain_us": typical_us(found.plain_us),
        "profiled_us": typical_us(found.profiled_us),
        "matrix_share": matrix_share(found),
        "chart": str(chart) if chart else None,
        "profile": found,
    }


def _text(found: Profile, rows: list[ProfileRow], by: str, top: int, chart: Path | None) -> str:
    from edgevit.bench.profile import matrix_share, typical_us

    wide = by == "layer"
    headings = [by, "µs a run", "share", "cumulated", "kernels", *(["operators"] if wide else [])]
    cells = [
        [
            row.name,
            f"{row.time_us:,.1f}",
            f"{100 * row.share:.1f} %",
            f"{100 * row.cumulated:.1f} %",
            str(row.count),
            *([", ".join(row.ops[:3]) + (" ..." if len(row.ops) > 3 else "")] if wide else []),
        ]
        for row in rows[:top]
    ]
    if len(rows) > top:
        left = rows[top:]
        cells.append(
            [
                f"{len(left)} more",
                f"{sum(row.time_us for row in left):,.1f}",
                f"{100 * sum(row.share for row in left):.1f} %",
                "100.0 %",
                str(sum(row.count for row in left)),
                *([""] if wide else []),
            ]
        )
    lines = [console.table(headings, cells, right=tuple(headings[1:5]))]
    operators = sum(row.time_us for row in rows)
    plain, profiled = typical_us(found.plain_us), typical_us(found.profiled_us)
    lines.append(
        f"{found.file} in {found.runtime}, {_threads(found.threads)}: {plain:,.0f} µs a run; "
        f"{profiled:,.0f} µs with the profiler on ({100 * (profiled / plain - 1):+.0f} %)."
    )
    lines.append(
        f"All operators together: {operators:,.0f} µs, of it {100 * matrix_share(found):.0f} % in "
        "matrix products and convolutions. Kernels are timed in whole microseconds; short ones "
        "are off by up to one each."
    )
    if chart:
        lines.append(f"chart: {console.shown_path(chart)}")
    return "\n".join(lines)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
