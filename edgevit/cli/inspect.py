"""``edgevit inspect``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options

if TYPE_CHECKING:
    from edgevit.core.inspection import Inspection
    from edgevit.core.parity import Profile
    from edgevit.core.roofline import Cost

SHOWN = 5  # of the largest tensors; --json lists all of them
SLOWEST = 8  # nodes of a profile; --json lists all of them


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--profile",
    "profiled",
    is_flag=True,
    help="Run it under its runtime's profiler too: which operators and nodes take the time.",
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=50, show_default=True, help="With --profile."
)
@options.as_json
def inspect(file: Path, profiled: bool, runs: int, as_json: bool) -> None:
    """List what is really inside FILE.

    Operators, element types, float islands in an integer file, custom and Flex operators, how
    XNNPACK cuts the graph or what onnxruntime makes of it, the largest tensors, parameters and
    multiply-accumulates, inputs and outputs. With --profile also the time of each operator that
    the runtime runs, and the slowest nodes; 'edgevit profile' shows more of that.

    \b
    edgevit inspect exports/shiftvit-tflite-int8.tflite
    edgevit inspect exports/shiftvit-onnx-float32.onnx --profile
    edgevit inspect exports/shiftvit-onnx-float32.onnx --json
    """
    from edgevit.formats.registry import detect_format
    from edgevit.verification.audit import inspect as inspect_file

    detect_format(file)
    measured = _profile(file, runs) if profiled else None
    found = inspect_file(file, optimized=True, work=True)
    document = {**asdict(found), "macs": found.work.total_macs if found.work else None}
    if measured is not None:
        document["profile"] = _profile_document(measured)
    console.answer(document, as_json, lambda: _text(found, measured))


def _profile(file: Path, runs: int) -> Profile:
    from edgevit.bench.profile import profile

    with console.working() as work:
        work.status(f"running {file.name} {runs} times with the profiler and {runs} times without")
        return profile(file, runs=runs)


def _text(found: Inspection, measured: Profile | None) -> str:
    rows = [
        [name, str(count), str(found.float_ops.get(name, "")) or "-"]
        for name, count in found.ops.items()
    ]
    lines = [console.table(["operator", "count", "on floats"], rows, ("count", "on floats"))]
    if found.optimized_ops is not None:
        before, after = sum(found.ops.values()), sum(found.optimized_ops.values())
        listed = ", ".join(f"{count} {name}" for name, count in found.optimized_ops.items())
        lines.append(f"onnxruntime runs {after} of {before} nodes: {listed}")
    if measured is not None:
        lines += _profile_text(measured)
    if found.largest:
        lines.append(_largest(found))
    types = ", ".join(f"{count} {kind}" for kind, count in found.tensor_types.items())
    lines.append(f"tensors:      {types}")
    lines.append(f"integer only: {'yes' if found.integer_only else 'no'}")
    lines.append(f"custom ops:   {', '.join(found.custom_ops) or 'none'}")
    if found.partitions:
        lines.append(
            f"XNNPACK:      {found.partitions['delegated']} parts; "
            f"{found.partitions['left']} operators are left to LiteRT's own kernels"
        )
    for side, specs in (("input", found.inputs), ("output", found.outputs)):
        for spec in specs:
            shape = " ".join("?" if size is None else str(size) for size in spec.shape)
            lines.append(f"{side + ':':13} {spec.name} {spec.dtype} {shape}")
    counted = f", {found.parameters:,} parameters and constants" if found.parameters else ""
    lines.append(f"size:         {console.megabytes(found.size_bytes)} MB{counted}")
    if found.work is not None:
        lines.append(f"work:         {_work(found.work)}")
    return "\n".join(lines)


def _work(work: Cost) -> str:
    """``104.3 million multiply-accumulates a run (100.1 int8, 4.2 float32)``."""
    text = f"{work.total_macs / 1e6:,.1f} million multiply-accumulates a run"
    kinds = [f"{count / 1e6:,.1f} {kind}" for kind, count in work.macs.items() if count]
    if kinds:
        text += f" ({', '.join(kinds)})"
    if work.uncounted:
        text += f"; without {', '.join(work.uncounted)}, which cannot be counted"
    return text


def _profile_document(measured: Profile) -> dict[str, Any]:
    from edgevit.bench.profile import group_rows, matrix_share, typical_us

    slowest = sorted(measured.nodes, key=lambda node: (-typical_us(node.time_us), node.node))
    return {
        "runtime": measured.runtime,
        "threads": measured.threads,
        "runs": len(measured.plain_us),
        "plain_us": typical_us(measured.plain_us),
        "profiled_us": typical_us(measured.profiled_us),
        "matrix_share": matrix_share(measured),
        "ops": group_rows(measured, "op"),
        "nodes": [
            {
                "node": node.node,
                "op": node.op,
                "layer": node.layer,
                "time_us": typical_us(node.time_us),
            }
            for node in slowest
        ],
        "environment": measured.environment,
    }


def _profile_text(measured: Profile) -> list[str]:
    """Two tables, operators and the slowest nodes, and what a run takes."""
    from edgevit.bench.profile import group_rows

    tables = []
    for by, limit in (("op", None), ("node", SLOWEST)):
        rows = group_rows(measured, by)[:limit]
        names = {"op": "operator that ran", "node": "slowest nodes"}
        cells = [
            [
                row.name,
                *([row.ops[0]] if by == "node" else [str(row.count)]),
                f"{row.time_us:,.1f}",
                f"{100 * row.share:.1f} %",
            ]
            for row in rows
        ]
        second = "operator" if by == "node" else "count"
        headings = [names[by], second, "µs a run", "share"]
        tables.append(console.table(headings, cells, ("count", "µs a run", "share")))
    return [*tables, _profile_line(measured)]


def _profile_line(measured: Profile) -> str:
    from edgevit.bench.profile import matrix_share, typical_us

    return (
        f"{measured.runtime}, 1 thread: {typical_us(measured.plain_us):,.0f} µs a run, "
        f"{typical_us(measured.profiled_us):,.0f} with the profiler on; "
        f"{100 * matrix_share(measured):.0f} % of the operators' time in products and convolutions"
    )


def _largest(found: Inspection) -> str:
    rows = [
        [
            tensor.name,
            " ".join(map(str, tensor.shape)) or "scalar",
            tensor.dtype,
            f"{tensor.size_bytes / 1e3:,.1f}",
            f"{100 * tensor.size_bytes / found.size_bytes:.1f} %",
        ]
        for tensor in found.largest[:SHOWN]
    ]
    headings = ["largest tensors", "shape", "type", "kB", "of the file"]
    return console.table(headings, rows, right=("kB", "of the file"))
