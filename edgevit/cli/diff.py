"""``edgevit diff``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options

if TYPE_CHECKING:
    from edgevit.core.layer_errors import LayerDiff, LayerError


@click.command()
@options.file
@click.argument("model", required=False)
@options.data
@click.option("--limit", type=options.COUNT, help="Images that both see.  [default: 32]")
@click.option("--top", type=options.COUNT, default=15, help="Rows.")
@click.option(
    "--order",
    type=click.Choice(["suspicion", "network"]),
    default="suspicion",
    help="Of the rows: the most suspicious layer first, or as the network computes them (all).",
)
@click.option(
    "--picture",
    type=options.PATH,
    metavar="PICTURE",
    help="Error through the network, as .png, .svg or .pdf.",
)
@click.option(
    "--unsealed", is_flag=True, help="Look into FILE although it changed since it was exported."
)
@options.reading
@options.as_json
def diff(
    file: Path, top: int, order: str, picture: Path | None, as_json: bool, **chosen: Any
) -> None:
    """Find the layer that is wrong: FILE against the float Keras model, layer by layer.

    MODEL is what FILE was made of, named as for 'edgevit export'. Default: the shipped weights of
    the architecture that FILE names. A FILE of another tool is compared as well. Every float layer
    is also given what the file's own layers before it computed, so each row says what this layer
    alone adds to the error. "beyond" is how many decibels of that neither its precision nor the
    other layers of its kind explain; from 18 on a layer is suspect, and the exit code is 1.

    \b
    edgevit diff exports/shiftvit-tflite-int8.tflite
    edgevit diff exports/vit-onnx-int8.onnx runs/vit --picture layers.png
    edgevit diff exports/shiftvit-tflite-int8.tflite --order network --data cifar10.tar.gz
    edgevit diff exports/shiftvit-onnx-int8.onnx --json > exports/shiftvit-onnx-int8.onnx.diff.json
    """
    from edgevit.base.figures import check_figure_path
    from edgevit.base.files import check_place
    from edgevit.formats.registry import detect_format
    from edgevit.verification.layer_picture import draw_layers

    detect_format(file)
    if picture:
        check_figure_path(picture)
        check_place(picture)
    with console.working() as work:
        from edgevit.verbs.diff import diff as diff_file

        found = diff_file(file, status=work.status, progress=work.advance, **chosen)
    if picture:
        draw_layers(found, picture)
    suspects = found.suspects
    document = {
        "verdict": "fail" if suspects else "pass",
        "suspects": [row.layer for row in suspects],
        "noisy": [row.layer for row in found.noisy],
        "ranking": [row.layer for row in found.ranked],
        "aligned": len(found.layers),
        **asdict(found),
        "picture": picture,
    }
    console.answer(document, as_json, lambda: _text(found, top, order, picture))
    if suspects:
        sys.exit(1)


def _text(found: LayerDiff, top: int, order: str, picture: Path | None) -> str:
    rows = list(found.layers) if order == "network" else found.ranked[:top]
    cells = found.list_rows(rows)
    lines = [console.table(cells, words=("layer", "computed by"))]
    lines += [f"{console.paint('warning:')} {line}" for line in found.warnings]
    lines.append(_coverage(found))
    reasons = Counter(row.reason for row in found.unaligned)
    for reason, count in reasons.items():
        names = [row.layer for row in found.unaligned if row.reason == reason]
        shown = ", ".join(names[:3]) + (", ..." if count > 3 else "")
        lines.append(f"not compared by themselves: {count} ({reason}): {shown}")
    lines += [_suspicion(row) for row in found.suspects[:3]]
    left = len(found.suspects) - 3
    if left > 0:
        lines.append(f"{left} more suspect layers; the first is the likeliest.")
    if not found.suspects:
        lines.append(
            f"{found.file} ({found.target}, {found.runtime}): no layer adds more error than its "
            "precision and its like explain."
        )
        lines += [_noise(row) for row in found.noisy[:1]]
    if picture:
        lines.append(f"picture: {console.shown_path(picture)}")
    return "\n".join(lines)


def _in_front(row: LayerError) -> str:
    """Says that layers that are not compared may be the cause; nothing where there is none."""
    own = row.layer, row.last
    names = [path.rpartition("/")[2] for path in row.within if path not in own]
    if not names:
        return ""
    shown = ", ".join(names[-3:])
    return f" This counts what comes with it and has no tensor of its own: {shown}."


def _coverage(found: LayerDiff) -> str:
    whole = len(found.layers) + len(found.unaligned)
    nothing = sum(found.skipped.values())
    return (
        f"{len(found.layers)} of {whole} layers that compute something were compared on "
        f"{found.images} {found.source}; {nothing} compute nothing of their own. Decibels of "
        "signal to noise: 6 are a factor of two."
    )


def _suspicion(row: LayerError) -> str:
    return (
        f"suspect: {row.layer} ({row.kind}): its channel {row.channel} is {row.excess_db:.0f} dB "
        f"beyond what is to be expected; the layer adds {100 * row.relative:.3g} % error."
        f"{_in_front(row)}"
    )


def _noise(row: LayerError) -> str:
    return (
        f"{row.layer} ({row.kind}) adds most, {100 * row.relative:.3g} % error by itself: its "
        "precision is coarse for what it computes. If the file loses accuracy, begin there."
    )
