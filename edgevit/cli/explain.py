"""``edgevit explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.attribution.explanation import AUTO, METHODS
from edgevit.cli import console, options
from edgevit.cli.completion import complete_models

if TYPE_CHECKING:
    from edgevit.verbs.explain import DrawnExplanation


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.argument("images", nargs=-1, required=True, type=options.PATH)
@click.option(
    "--out",
    type=options.PATH,
    default=Path("explanations"),
    help="Folder for the drawings.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=AUTO,
    help="auto: every map that the network gives, occlusion where it gives none.",
)
@options.reading
@options.as_json
def explain(model: str, images: tuple[Path, ...], as_json: bool, **chosen: Any) -> None:
    """Draw where MODEL looks on pictures.

    MODEL is an exported file, which runs in its own runtime, or an architecture or .keras file,
    which Keras runs. PatchConvNet, ViT and GCViT show attention, FocalNet its gates and modulator;
    any classifier can be explained by occlusion: pieces of the picture are covered, and the map
    shows how much of the answer's probability is lost.

    \b
    edgevit explain patchconvnet cat.jpg
    edgevit export patchconvnet --format tflite-int8 --outputs logits,attention
    edgevit explain exports/patchconvnet-tflite-int8.tflite cat.jpg --out drawings
    """
    options.check_model(model)
    with console.working() as work:
        from edgevit.verbs.explain import explain as explain_pictures

        drawn = explain_pictures(model, list(images), status=work.status, **chosen)
    document = [
        {
            "image": item.image,
            "path": item.path,
            "method": item.explanation.method,
            "class": item.explanation.label,
            "probability": item.explanation.probability,
            "runtime": item.runtime,
            "maps": [drawing.title for drawing in item.explanation.maps],
        }
        for item in drawn
    ]

    console.answer(document, as_json, lambda: "\n".join(map(_line, drawn)))


def _line(item: DrawnExplanation) -> str:
    found = item.explanation
    effect = ""
    if found.method == "occlusion":
        lost = 100 * found.maps[0].values
        effect = f" (covering a part costs {lost.min():.0f} to {lost.max():.0f} points)"
    return (
        f"{item.image}: {found.label} {100 * found.probability:.1f} %, {found.method} by "
        f"{item.runtime}{effect}: {console.shown_path(item.path)}"
    )
