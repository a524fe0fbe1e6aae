"""``edgevit inspect``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options
from edgevit.cli.npu import show_placement
from edgevit.cli.profile import measure, summarise
from edgevit.core.tensors import show_shape

if TYPE_CHECKING:
    from edgevit.core.inspection import Inspection
    from edgevit.core.parity import Profile
    from edgevit.core.roofline import Cost

SHOWN = 5  # of the largest tensors; --json lists all of them
SLOWEST = 8  # nodes of a profile; --json lists all of them


@click.command()
@options.file
@click.option(
    "--profile",
    "profiled",
    is_flag=True,
    help="Run it under its runtime's profiler too: which operators and nodes take the time.",
)
@click.option("--runs", type=options.COUNT, default=50, help="With --profile.")
@click.option(
    "--npu",
    metavar="NAME",
    help="Compile it with Vela for an Arm NPU, such as ethos-u85-256, and tell instead which "
    "operators run there, which stay on the CPU, and why.",
)
@options.as_json
def inspect(file: Path, profiled: bool, runs: int, npu: str | None, as_json: bool) -> None:
    """List what is really inside FILE.

    Operators, element types, float islands in an integer file, custom and Flex operators, how
    XNNPACK cuts the graph or what onnxruntime makes of it, the largest tensors, parameters and
    multiply-accumulates, inputs and outputs. With --profile also the time of each operator that
    the runtime runs, and the slowest nodes; 'edgevit profile' shows more of that. With --npu what
    Arm's compiler expects of an Ethos-U55, U65 or U85: cycles and memory are its estimates.

    \b
    edgevit inspect exports/shiftvit-tflite-int8.tflite
    edgevit inspect exports/shiftvit-onnx-float32.onnx --profile
    edgevit inspect exports/shiftvit-onnx-float32.onnx --json
    edgevit inspect exports/shiftvit-tflite-int8-npu.tflite --npu ethos-u85-256
    """
    from edgevit.formats.registry import detect_format
    from edgevit.verification.audit import inspect as inspect_file

    detect_format(file)
    if npu is not None:
        show_placement(file, npu, as_json)
        return
    measured = measure(file, runs) if profiled else None
    found = inspect_file(file, optimized=True, work=True)
    document = {**asdict(found), "macs": found.work.total_macs if found.work else None}
    if measured is not None:
        document["profile"] = _profile_document(measured)
    console.answer(document, as_json, lambda: _text(found, measured))


def _text(found: Inspection, measured: Profile | None) -> str:
    lines = [console.table(found.list_operators(), words=("operator",))]
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
            lines.append(f"{side + ':':13} {spec.name} {spec.dtype} {show_shape(spec.shape)}")
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
    from edgevit.bench.profile import group_rows, typical_us

    slowest = sorted(measured.nodes, key=lambda node: (-typical_us(node.time_us), node.node))
    return {
        **summarise(measured),
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
    from edgevit.bench.profile import ProfileRow, group_rows

    def times(row: ProfileRow) -> dict[str, str]:
        return {"µs a run": f"{row.time_us:,.1f}", "share": f"{100 * row.share:.1f} %"}

    ops = [
        {"operator that ran": row.name, "count": str(row.count), **times(row)}
        for row in group_rows(measured, "op")
    ]
    nodes = [
        {"slowest nodes": row.name, "operator": row.ops[0], **times(row)}
        for row in group_rows(measured, "node")[:SLOWEST]
    ]
    whole = summarise(measured)
    return [
        console.table(ops, words=("operator that ran",)),
        console.table(nodes, words=("slowest nodes", "operator")),
        f"{measured.runtime}, 1 thread: {whole['plain_us']:,.0f} µs a run, "
        f"{whole['profiled_us']:,.0f} with the profiler on; "
        f"{100 * whole['matrix_share']:.0f} % of the operators' time in products and convolutions",
    ]


def _largest(found: Inspection) -> str:
    rows = [
        {
            "largest tensors": tensor.name,
            "shape": show_shape(tensor.shape) or "scalar",
            "type": tensor.dtype,
            "kB": f"{tensor.size_bytes / 1e3:,.1f}",
            "of the file": f"{100 * tensor.size_bytes / found.size_bytes:.1f} %",
        }
        for tensor in found.largest[:SHOWN]
    ]
    return console.table(rows, words=("largest tensors", "shape", "type"))
