"""``edgevit train``."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from edgevit.base.errors import ConfigError
from edgevit.base.packages import TRAINING, Need, require
from edgevit.cli import console, options
from edgevit.cli.completion import complete_models


@click.command()
@click.argument("model", shell_complete=complete_models)
@options.data
@click.option(
    "--recipe",
    "recipe_name",
    default="default",
    show_default=True,
    metavar="NAME|PATH",
    help="How: default, quick, finetune, distill; or the recipe.json beside weights.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--learning-rate", type=float, help="Peak, instead of the recipe's.")
@click.option("--form", help="paper or tutorial.  [default: that of --init, else paper]")
@click.option(
    "--variant", help="A published size, see 'edgevit models'.  [default: the tutorial's]"
)
@click.option(
    "--init",
    metavar="NAME|PATH|URL",
    help="Weights to start from: the name of what ships, a file, a run's folder, or for gcvit the "
    "published gcvitxxtiny.keras, by file or URL. They bring their sizes along; the head is "
    "replaced where the classes differ in number.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="MODEL|PATH",
    help="A trained network to distil from: an architecture with shipped weights, a weights file "
    "or a run's folder. Repeatable: the mean of their outputs counts. Needs a recipe with a "
    "teacher_share, such as distill.",
)
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=options.read_fields,
    help="Another value for a field of the architecture's config, such as image_size=64 or "
    "window_sizes=2,2,4,2. Repeatable. With --init, another image_size or another rate: learned "
    "positions are interpolated.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=10),
    metavar="N",
    help="Learn from N training images, the same share of every class, and validate on as many at "
    "most: for a quick trial.",
)
@options.image_size
@click.option(
    "--explain-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Every N epochs, draw where the network looks on a few validation images.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for checkpoint, log, curves and weights.  [default: runs/MODEL]",
)
@click.option(
    "--backend",
    type=click.Choice(["jax", "torch", "tensorflow"]),
    default="jax",
    show_default=True,
    help="What Keras trains on.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the products. bfloat16 is for processors that have it: GPUs, and some CPUs on torch.",
)
@options.as_json
def train(
    model: str,
    data: str | None,
    recipe_name: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    form: str | None,
    variant: str | None,
    init: str | None,
    teachers: tuple[str, ...],
    fields: dict[str, Any],
    limit: int | None,
    image_size: tuple[int, int] | None,
    explain_every: int | None,
    seed: int,
    out: Path | None,
    backend: str,
    precision: str,
    as_json: bool,
) -> None:
    """Train MODEL on the training images of a dataset; some are held out for validation: a fifth,
    or what the recipe says. What --init or a --teacher was trained on is never among them.

    MODEL is an architecture, or one of its sizes, such as shiftvit:nano.
    Pictures of one size stay as they are, up to the network's; others are resized to it.
    A run that was killed goes on where it stopped, to the same weights, when the same command is
    given again. log.csv and curves.png grow with every epoch. The folder then holds weights
    (float16) and recipe.json too, and 'edgevit export FOLDER --format ...' exports it.

    \b
    edgevit train shiftvit --data cifar10.tar.gz
    edgevit train shiftvit --data flowers/ --recipe finetune --out runs/flowers \\
        --init shiftvit
    edgevit train shiftvit:nano --data cifar10.tar.gz --recipe distill --teacher shiftvit
    edgevit train shiftvit --data cifar10.tar.gz --recipe artifacts/shiftvit/recipe.json
    edgevit train gcvit --data cifar10.tar.gz --limit 5000 --epochs 3 \\
        --set image_size=64 --set window_sizes=2,2,4,2
    """
    from edgevit.base.files import check_writable
    from edgevit.models import split_name
    from edgevit.models.weights import find_weights, is_ported
    from edgevit.training.recipe import open_recipe

    folder = out or Path("runs") / model.replace(":", "-")
    model, size = split_name(model)
    if size and variant:
        raise ConfigError(f"--variant and the size in {model}:{size} say the same: give one.")
    variant = variant or size
    if init and not is_ported(init):
        find_weights(init)  # an unknown name is refused before anything slow
    recipe, unused = open_recipe(recipe_name)
    given: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    recipe = replace(recipe, **{key: value for key, value in given.items() if value is not None})
    if unused:
        console.say(
            f"edgevit: note: {recipe_name} comes from an earlier trainer. Nothing reads these of "
            f"its values any more: {', '.join(unused)}."
        )
    require("Training", [*TRAINING, Need(backend, "train")])
    os.environ["KERAS_BACKEND"] = backend
    with console.working() as work:
        from edgevit.data.datasets import find_source, limit_images, load_dataset, split_validation

        source = find_source(data)
        from edgevit.training.distillation import check_teaching
        from edgevit.training.precision import is_emulated
        from edgevit.training.run import train_model
        from edgevit.training.start import hold_out, open_start

        check_teaching(recipe, bool(teachers))
        start = open_start(model, form, variant, init, fields)
        check_writable(folder)
        if is_emulated(precision):
            console.say(
                f"edgevit: warning: this processor has no {precision} products: {backend} emulates "
                "them, which takes longer than float32. Drop --precision."
            )
        work.status("reading the training images")
        largest = start.plan.preprocess.network_size
        dataset = load_dataset(source, "train", image_size, work.advance, at_most=largest)
        recipe = hold_out(recipe, dataset.source, start, teachers)
        training, validation = split_validation(dataset, recipe.held_out, seed=0)
        if limit:
            training, validation = (limit_images(one, limit) for one in (training, validation))
        pictures = None
        if explain_every:
            from edgevit.attribution.during_training import EpochPictures

            pictures = EpochPictures(
                validation.images[:8], dataset.class_names, folder / "explain", explain_every
            )
        work.status(f"training {model} on {len(training):,} images with {backend}")

        def progress(epoch: int, step: int, steps: int, values: dict) -> None:
            work.advance(epoch * steps + step, recipe.epochs * steps)

        result = train_model(
            model,
            form,
            recipe,
            training,
            validation,
            folder,
            seed=seed,
            initial=init,
            progress=progress,
            variant=variant,
            epoch_end=pictures,
            fields=fields,
            teachers=teachers,
            precision=precision,
        )
    document = {
        "model": model,
        "recipe": asdict(recipe),
        "validation_top1": result.validation_top1,
        "weights": str(folder / "weights.safetensors"),
        "epochs": len(result.log),
    }
    console.answer(
        document,
        as_json,
        lambda: (
            f"{model}: {result.validation_top1:.2f} % of {len(validation):,} validation images "
            f"after {len(result.log)} epochs. Export it:\n  edgevit export "
            f"{console.shown_path(folder)} --format tflite-int8 --calibration PATH"
        ),
    )
