"""A whole training run: train, then write weights, log, curves and card into one folder."""

from __future__ import annotations

import json
from pathlib import Path

from edgevit.core.files import digest_path, write_whole
from edgevit.core.serialization import to_json
from edgevit.data.datasets import ImageDataset
from edgevit.models.build import Plan, plan_model
from edgevit.models.weights import WEIGHTS_FILE, load_weights, save_weights
from edgevit.training.curves import draw_curves
from edgevit.training.loop import StepProgress, TrainingResult, train, write_log
from edgevit.training.recipe import Recipe

RUN_FILE = "recipe.json"


def train_model(
    name: str,
    form: str,
    recipe: Recipe,
    train_set: ImageDataset,
    validation_set: ImageDataset,
    folder: Path,
    seed: int = 0,
    initial: Path | None = None,
    progress: StepProgress | None = None,
) -> TrainingResult:
    """Trains an architecture for the classes of a dataset.

    Args:
        name: an architecture.
        form: "paper" or "tutorial".
        recipe: how.
        train_set: images to learn from.
        validation_set: images to choose by.
        folder: for checkpoint, weights.safetensors (float16), log.csv, curves.png, recipe.json.
        seed: of everything random.
        initial: weights to start from; None: fresh ones.
        progress: see :func:`edgevit.training.loop.train`.
    """
    size = train_set.images.shape[1:3]
    plan = plan_model(name, input_size=size, form=form, num_classes=len(train_set.class_names))
    start = load_weights(initial).network.get_weights() if initial else None
    result = train(plan, recipe, train_set, validation_set, folder, seed, start, progress=progress)
    origin = describe_origin(initial) if initial else None
    write_run(folder, plan, recipe, result, train_set, validation_set, seed, origin)
    return result


def write_run(
    folder: Path,
    plan: Plan,
    recipe: Recipe,
    result: TrainingResult,
    train_set: ImageDataset,
    validation_set: ImageDataset,
    seed: int,
    origin: dict | None = None,
) -> None:
    """Writes what a run leaves for others: weights, log, curves and the recipe as followed.

    Args:
        origin: where the initial weights came from (:func:`describe_origin`); None: fresh ones.
    """
    save_weights(folder / WEIGHTS_FILE, plan, result.weights, train_set.class_names, "float16")
    write_log(folder, result.log)
    draw_curves(result.log, folder / "curves.png", plan.spec.title)
    document = {
        "recipe": recipe,
        "seed": seed,
        "initial": origin,
        "epochs_completed": len(result.log),
        "data": train_set.source,
        "train_images": len(train_set),
        "validation_images": len(validation_set),
        "validation_top1": result.validation_top1,
    }
    write_whole(folder / RUN_FILE, (to_json(document, indent=2) + "\n").encode())


def describe_origin(weights: Path) -> dict:
    """What initial weights were: {"file", "sha256", "run"}; "run" is the recipe.json beside them."""
    file = weights / WEIGHTS_FILE if weights.is_dir() else weights
    beside = file.parent / RUN_FILE
    return {
        "file": file.name,
        "sha256": digest_path(file),
        "run": json.loads(beside.read_text()) if beside.is_file() else None,
    }
