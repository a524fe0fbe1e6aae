"""``edgevit export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options

if TYPE_CHECKING:
    from edgevit.quantization.recipe import Recipe
    from edgevit.verbs.export import Outcome
    from edgevit.verbs.search import SearchReport


@click.command()
@click.argument("model")
@click.option(
    "--format",
    "formats",
    required=True,
    metavar="TARGET[,TARGET...]",
    help="Targets, or 'all'. See 'edgevit targets'.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("exports"),
    show_default=True,
    help="Folder for the files.",
)
@click.option(
    "--calibration",
    metavar="PATH",
    help="Images for int8: a dataset or a folder of pictures. Default: ranges shipped with the "
    "weights.",
)
@click.option(
    "--ranges",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Activation ranges for int8, written by 'edgevit calibrate'.",
)
@options.surgery
@click.option(
    "--preprocess/--no-preprocess",
    default=True,
    help="Take the raw image (uint8, 0..255) and resize and scale inside, or export the bare "
    "network.  [default: preprocess]",
)
@click.option(
    "--batch",
    default="1",
    show_default=True,
    callback=options.parse_batch,
    metavar="N|dynamic",
    help="Images a run.",
)
@click.option(
    "--io-dtype",
    type=click.Choice(["uint8", "int8", "float32"]),
    help="Element type of the input. Default: uint8 for raw images, float32 for a bare network.",
)
@click.option(
    "--opset",
    type=click.IntRange(17, 20),
    default=20,
    show_default=True,
    help="Of an ONNX file. 17 suits older runtimes; 20 has Gelu as one operator.",
)
@click.option(
    "--optimize",
    type=click.Choice(["cpu"]),
    help="onnx-float32: rewrites that pay on CPUs and make the file larger (wide 3x3 convolutions "
    "by Winograd's minimal filtering).",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="tflite-mixed: the quickest precisions that lose at most so many points of accuracy on "
    "validation images of --data. Writes the recipe it finds beside the file.",
)
@options.data
@click.option(
    "--validation-images",
    type=click.IntRange(min=10),
    default=1000,
    show_default=True,
    help="How many images --max-drop measures on.",
)
@click.option(
    "--recipe-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="tflite-mixed: precisions of a recipe, as --max-drop writes them, instead of a search.",
)
@click.option(
    "--micro",
    is_flag=True,
    help="With tflite-int8: only operators that TensorFlow Lite Micro has, so that the file runs "
    "on microcontrollers. Check with 'edgevit verify FILE --runtime tflm'.",
)
@options.reading
@click.option("--keep-failed", is_flag=True, help="Write a file even if its verification fails.")
@options.as_json
def export(
    model: str,
    formats: str,
    out: Path,
    calibration: str | None,
    ranges: Path | None,
    surgery: str | None,
    preprocess: bool,
    batch: int | None,
    io_dtype: str | None,
    opset: int,
    optimize: str | None,
    max_drop: float | None,
    data: str | None,
    validation_images: int,
    recipe_file: Path | None,
    micro: bool,
    keep_failed: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Export MODEL and verify each file in its own runtime.

    MODEL is an architecture with shipped weights (see 'edgevit models'), a .keras file, or the
    folder of a training run. A file appears whole or not at all, with a manifest beside it, and
    only if its runtime agrees with the float model.

    \b
    edgevit export shiftvit --format tflite-int8
    edgevit export shiftvit --format all --out build
    edgevit export shiftvit --format tflite-int8 --micro
    edgevit export patchconvnet --format onnx-float32 --outputs logits,attention
    edgevit export runs/patchconvnet --format onnx-float32 --optimize cpu
    edgevit export my.keras --format tflite-int8 --scaling unit --calibration photos/
    edgevit export runs/vit --format tflite-int8,onnx-int8 --ranges vit-ranges.json
    edgevit export shiftvit --format tflite-mixed --max-drop 0.3 --data cifar10.tar.gz
    edgevit export shiftvit --format tflite-mixed --recipe-file edited.toml
    """
    from edgevit.core.target import find_targets
    from edgevit.models import split_name

    targets = find_targets(formats)  # before anything slow is imported
    if not Path(model).exists() and not model.endswith((".keras", ".safetensors")):
        split_name(model)
    recipe = _read_recipe(recipe_file) if recipe_file else None
    with console.working() as work:
        from edgevit.data.datasets import find_source
        from edgevit.verbs.export import Budget, export_all

        budget = None
        if max_drop is not None:
            budget = Budget(max_drop, find_source(data), validation_images)

        steps = options.read_surgery(surgery)
        opening = options.opening(**reading)
        opening["preprocess"] = preprocess
        outcomes = export_all(
            model,
            targets,
            out,
            calibration=calibration,
            ranges=ranges,
            surgery=steps,
            batch=batch,
            io_dtype=io_dtype,
            opset=opset,
            optimize=optimize,
            micro=micro,
            keep_failed=keep_failed,
            budget=budget,
            recipe=recipe,
            status=work.status,
            progress=work.advance,
            **opening,
        )
    console.answer([_document(outcome) for outcome in outcomes], as_json, lambda: _text(outcomes))
    if any(outcome.verdict != "pass" for outcome in outcomes):
        sys.exit(1)


def _read_recipe(path: Path) -> Recipe:
    from edgevit.base.errors import ModelFileError
    from edgevit.quantization.recipe import Recipe

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path}: the recipe cannot be read ({error}).") from None
    return Recipe.from_text(text, str(path))


def _search_document(search: SearchReport) -> dict[str, Any]:
    interval = search.drop.interval()
    return {
        "max_drop": search.max_drop,
        "images": search.images,
        "source": search.source,
        "float_accuracy": search.accuracy,
        "points_lost": search.drop.points,
        "interval": [interval.low, interval.high],
        "mcnemar_p": search.drop.p_value,
        "evaluations": search.evaluations,
        "trials": [
            {
                "name": trial.name,
                "points_lost": None if trial.drop is None else trial.drop.points,
                "latency_ms": trial.latency_ms,
                "operators": trial.operators,
                "chosen": number == search.chosen,
            }
            for number, trial in enumerate(search.trials)
        ],
    }


def _search_text(search: SearchReport) -> list[str]:
    from edgevit.verbs.search import describe_drop

    rows = [
        [
            trial.name + (" (chosen)" if number == search.chosen else ""),
            "-" if trial.drop is None else f"{trial.drop.points:.2f}",
            f"{trial.latency_ms:.2f}",
            *(str(count) for count in trial.operators.values()),
        ]
        for number, trial in enumerate(search.trials)
    ]
    headings = ["precisions", "points lost", "ms here", *search.trials[0].operators]
    drop = describe_drop(search.drop, search.drop.interval())
    return [
        console.table(headings, rows, right=tuple(headings[1:])),
        f"{search.images} validation images of {search.source}, float32 {search.accuracy:.2f} %: "
        f"{drop}; {search.evaluations} evaluations.",
    ]


def _document(outcome: Outcome) -> dict[str, Any]:
    from edgevit.reports.text import summarise_others, summarise_parity
    from edgevit.verbs.export import recipe_path

    artifact = outcome.artifact
    figures = summarise_parity(outcome.reports)
    document: dict[str, Any] = {
        "target": outcome.target.name,
        "path": str(artifact.path) if artifact else None,
        "size_bytes": artifact.size_bytes if artifact else None,
        "sha256": artifact.sha256 if artifact else None,
        "verdict": str(outcome.verdict),
        "max_abs": figures["max_abs"],
        "top1_agreement": figures["top1_agreement"],
        "seconds": round(outcome.seconds, 2),
    }
    if outcome.search:
        document["search"] = _search_document(outcome.search)
        document["recipe"] = str(recipe_path(artifact.path)) if artifact else None
    others = summarise_others(outcome.reports)
    return {**document, "outputs": others} if others else document


def _text(outcomes: list[Outcome]) -> str:
    from edgevit.reports.text import summarise_others, summarise_parity
    from edgevit.verbs.export import recipe_path

    rows = []
    for outcome in outcomes:
        figures = summarise_parity(outcome.reports)
        artifact = outcome.artifact
        rows.append(
            [
                outcome.target.name,
                str(outcome.verdict),
                console.megabytes(artifact.size_bytes) if artifact else "-",
                f"{figures['max_abs']:.2g}",
                f"{100 * figures['relative']:.2g} %",
                f"{100 * figures['top1_agreement']:.1f} %",
                f"{outcome.seconds:.1f}",
                console.shown_path(artifact.path) if artifact else "not written",
            ]
        )
    headings = ["target", "verdict", "MB", "max |diff|", "mean/std", "same top-1", "s", "file"]
    images = outcomes[0].reports[0].images
    runtimes = sorted({report.runtime for outcome in outcomes for report in outcome.reports})
    note = f"{images} golden images, each file against float Keras, run in {', '.join(runtimes)}."
    lines = [console.table(headings, rows, right=tuple(headings[2:7])), note]
    for outcome in outcomes:
        if outcome.search:
            lines += _search_text(outcome.search)
            if outcome.artifact:
                lines.append(f"recipe: {console.shown_path(recipe_path(outcome.artifact.path))}")
        for name, figure in summarise_others(outcome.reports).items():
            lines.append(
                f"{outcome.target.name}, output {name!r}: max |diff| {figure['max_abs']:.2g}, "
                f"mean/std {100 * figure['relative']:.2g} %"
            )
    return "\n".join(lines)
