"""``edgevit inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgevit.cli import console, options

if TYPE_CHECKING:
    from edgevit.verify.audit import Inspection

SHOWN = 5  # of the largest tensors; --json lists all of them


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.as_json
def inspect(file: Path, as_json: bool) -> None:
    """List what is really inside FILE.

    Operators, element types, float islands in an integer file, custom and Flex operators, how
    XNNPACK cuts the graph or what onnxruntime makes of it, the largest tensors, inputs and
    outputs.

    \b
    edgevit inspect exports/shiftvit-tflite-int8.tflite
    edgevit inspect exports/shiftvit-onnx-float32.onnx --json
    """
    from edgevit.runtimes import detect_format
    from edgevit.verify.audit import inspect as inspect_file

    detect_format(file)
    found = inspect_file(file, optimized=True)

    def text() -> str:
        rows = [
            [name, str(count), str(found.float_ops.get(name, "")) or "-"]
            for name, count in found.ops.items()
        ]
        lines = [console.table(["operator", "count", "on floats"], rows, ("count", "on floats"))]
        if found.optimized_ops is not None:
            before, after = sum(found.ops.values()), sum(found.optimized_ops.values())
            listed = ", ".join(f"{count} {name}" for name, count in found.optimized_ops.items())
            lines.append(f"onnxruntime runs {after} of {before} nodes: {listed}")
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
        return "\n".join(lines)

    console.answer(found, as_json, text)


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
