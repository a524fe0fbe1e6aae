"""``edgevit verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options
from edgevit.core.parity import SYNTHETIC

if TYPE_CHECKING:
    from edgevit.verbs.verify import Verification


@click.command()
@options.file
@options.data
@click.option(
    "--against",
    metavar="MODEL",
    help="The float model: it decides instead of the outputs that travel in the file. Needed for a "
    "file of another tool. Default for agreement on --data: the shipped weights, if the file came "
    "from them.",
)
@click.option("--limit", type=options.COUNT, help="Only so many images of --data.")
@options.runtime
@options.thorough
@click.option(
    "--trust",
    type=options.PATH,
    metavar="KEY",
    help="A public ed25519 key: FILE fails unless its owner signed it (edgevit export --sign).",
)
@options.reading
@options.as_json
def verify(file: Path, as_json: bool, **chosen: Any) -> None:
    """Run FILE in its runtime and hold it against the float model's outputs.

    The golden inputs and outputs were recorded at export and travel inside the file. A file of any
    other tool is held against the model that --against names; its inputs and outputs are matched by
    name, then by shape. A TFLite file runs twice: with XNNPACK, as on devices, and with LiteRT's
    reference kernels, the first sixteen inputs, or four of a float32 file. With --data the test
    images of a dataset are classified as well: accuracy, and agreement with float Keras, which is
    part of the verdict.
    Fails closed: damage, NaN, or a file without recorded outputs is never a pass.

    \b
    edgevit verify exports/shiftvit-tflite-int8.tflite
    edgevit verify exports/shiftvit-onnx-float32.onnx --data cifar10.tar.gz
    edgevit verify exports/shiftvit-tflite-int8.tflite --runtime tflm
    edgevit verify converted.tflite --against my.keras --scaling unit
    """
    from edgevit.base.files import digest_path
    from edgevit.formats.registry import choose_runtime
    from edgevit.reports.text import summarise_outputs, summarise_parity
    from edgevit.verification.signing import describe_key, read_public_key

    choose_runtime(file, chosen["runtime"])  # before anything slow
    with console.working() as work:
        from edgevit.verbs.verify import verify as verify_file

        found = verify_file(file, status=work.status, progress=work.advance, **chosen)
    figures = summarise_parity(found.reports)
    golden = [report for report in found.reports if report.samples == SYNTHETIC]
    document: dict[str, Any] = {
        "file": str(file),
        "sha256": digest_path(file),
        "verdict": str(found.verdict),
        "runtime": " + ".join(report.runtime for report in golden),
        "images": max((report.images for report in golden), default=0),
        "max_abs": figures["max_abs"],
        "mean_abs": figures["mean_abs"],
        "top1_agreement": figures["top1_agreement"],
        "target": found.target.name if found.target else None,
        "task": found.task or None,
        "results": summarise_outputs(found.reports),
        "runs": [report.to_document() for report in found.reports],
    }
    if found.arena_bytes is not None:
        document["arena_bytes"] = found.arena_bytes
    if found.matches:
        document["matches"] = list(found.matches)
    if found.not_run:
        document["not_run"] = [row.name for row in found.not_run]
    if found.damage:
        document["damage"] = found.damage
    elif chosen["trust"]:
        document["signed_by"] = describe_key(read_public_key(chosen["trust"]))
    if found.drift:
        document["drift"] = found.drift
    if found.saturation:
        document["saturation"] = found.saturation
    if found.caveats:
        document["caveats"] = list(found.caveats)
    if found.accuracy:
        document["accuracy"] = found.accuracy
    if found.real:
        document["real_images"] = found.real.to_document()

    console.answer(document, as_json, lambda: _text(found, document.get("signed_by", "")))
    if found.verdict != "pass":
        sys.exit(1)


def _text(found: Verification, signed_by: str) -> str:
    from edgevit.reports.tables import list_runs

    shown = console.shown_path(found.path)
    tolerance = found.tolerance
    if tolerance is None:
        return f"{shown}: {found.damage}\n{shown}: {console.paint(str(found.verdict))}"
    rows = list_runs(found.judged, tolerance, found.real)
    lines = [console.table(rows, words=("runtime", "output", "images", "verdict"))]
    if found.accuracy:
        lines.append(
            f"{found.accuracy.images} test images of {found.accuracy.source}: "
            f"top-1 {found.accuracy.top1:.2f} %, top-5 {found.accuracy.top5:.2f} %"
        )
    if found.arena_bytes is not None:
        lines.append(f"arena: {found.arena_bytes:,} bytes of working memory")
    if found.target:
        lines += console.not_run_lines(found.target, found.not_run)
    else:
        lines += [*found.matches, f"judged as a file with {tolerance.reason}"]
    lines += console.verdict_lines(shown, tolerance, found.judged, found.verdict, found.saturation)
    if found.accuracy and not found.real:
        lines.append(
            f"{shown}: its float model is not at hand, so real images say nothing of the verdict. "
            "Name it: --against MODEL"
        )
    if signed_by:
        lines.append(f"{shown}: signed by {signed_by}, which you trust")
    lines += [line for line in (found.drift, *found.caveats) if line]
    kind = found.target.name if found.target else "another tool's"
    lines.append(f"{shown} ({kind}): {console.paint(str(found.verdict))}")
    return "\n".join(lines)
