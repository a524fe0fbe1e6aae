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
@options.file
@click.option(
    "--by",
    type=click.Choice(["op", "layer", "node", "kernel"]),
    default="op",
    help="Sum over operators, over Keras layers, over nodes of the file, or over what the "
    "runtime calls its kernels.",
)
@click.option(
    "--depth",
    type=options.COUNT,
    help="With --by layer: only so many parts of a layer's path. Default: all.",
)
@click.option("--top", type=options.COUNT, default=15, help="Rows.")
@click.option(
    "--runtime",
    "kernels",
    metavar="NAME",
    help="litert-xnnpack (what devices run), litert-builtin or litert-reference; onnxruntime.",
)
@click.option("--runs", type=options.COUNT, default=50, help="Runs.")
@click.option("--threads", type=options.COUNT, default=1, help="Threads.")
@click.option("--chart", type=options.PATH, metavar="PICTURE", help="Bars as .png, .svg or .pdf.")
@options.as_json
def profile(
    file: Path,
    by: str,
    depth: int | None,
    top: int,
    chart: Path | None,
    as_json: bool,
    **chosen: Any,
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
    from edgevit.base.figures import check_figure_path
    from edgevit.base.files import check_place
    from edgevit.bench.chart import draw_profile
    from edgevit.bench.profile import group_rows

    if chart:
        check_figure_path(chart)
        check_place(chart)
    found = measure(file, **chosen)
    rows = group_rows(found, by, depth)
    if chart:
        title = f"{found.file}, {found.runtime}, {_threads(found.threads)}, by {by}"
        draw_profile(rows[:top], rows[top:], title, chart)
    document = {
        "file": found.file,
        "sha256": found.sha256,
        **summarise(found),
        "by": by,
        "rows": rows,
        "operators_us": sum(row.time_us for row in rows),
        "chart": chart,
        "profile": found,
    }
    console.answer(document, as_json, lambda: _text(found, rows, by, top, chart))


def measure(file: Path, runs: int, **chosen: Any) -> Profile:
    """Runs a file under its profiler, as :func:`edgevit.bench.profile.profile`."""
    from edgevit.bench.profile import profile as profile_file

    with console.working() as work:
        work.status(f"running {file.name} {runs} times with the profiler and {runs} times without")
        return profile_file(file, runs=runs, **chosen)


def summarise(found: Profile) -> dict[str, Any]:
    """The figures of a whole run, for --json."""
    from edgevit.bench.profile import matrix_share, typical_us

    return {
        "runtime": found.runtime,
        "threads": found.threads,
        "runs": len(found.plain_us),
        "plain_us": typical_us(found.plain_us),
        "profiled_us": typical_us(found.profiled_us),
        "matrix_share": matrix_share(found),
    }


def _text(found: Profile, rows: list[ProfileRow], by: str, top: int, chart: Path | None) -> str:
    shown, left = rows[:top], rows[top:]
    cells = [
        {
            by: row.name,
            "µs a run": f"{row.time_us:,.1f}",
            "share": f"{100 * row.share:.1f} %",
            "cumulated": f"{100 * row.cumulated:.1f} %",
            "kernels": str(row.count),
            "operators": ", ".join(row.ops[:3]) + (" ..." if len(row.ops) > 3 else ""),
        }
        for row in shown
    ]
    if left:
        cells.append(
            {
                by: f"{len(left)} more",
                "µs a run": f"{sum(row.time_us for row in left):,.1f}",
                "share": f"{100 * sum(row.share for row in left):.1f} %",
                "cumulated": "100.0 %",
                "kernels": str(sum(row.count for row in left)),
                "operators": "",
            }
        )
    if by != "layer":
        cells = [{name: row[name] for name in row if name != "operators"} for row in cells]
    whole = summarise(found)
    plain, profiled = whole["plain_us"], whole["profiled_us"]
    lines = [
        console.table(cells, words=(by, "operators")),
        f"{found.file} in {found.runtime}, {_threads(found.threads)}: {plain:,.0f} µs a run; "
        f"{profiled:,.0f} µs with the profiler on ({100 * (profiled / plain - 1):+.0f} %).",
        f"All operators together: {sum(row.time_us for row in rows):,.0f} µs, of it "
        f"{100 * whole['matrix_share']:.0f} % in matrix products and convolutions. Kernels are "
        "timed in whole microseconds; short ones are off by up to one each.",
    ]
    if chart:
        lines.append(f"chart: {console.shown_path(chart)}")
    return "\n".join(lines)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
