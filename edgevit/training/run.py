"""A whole training run: train, then write weights, log, curves and card into one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgevit.base.documents import to_json
from edgevit.base.files import write_whole
from edgevit.data.datasets import ImageDataset
from edgevit.models.build import Plan
from edgevit.models.history import RUN_FILE, tell_once
from edgevit.models.weights import WEIGHTS_FILE, save_weights
from edgevit.training.curves import draw_curves
from edgevit.training.loop import StepProgress, TrainingResult, check_teaching, train, write_log
from edgevit.training.recipe import Recipe
from edgevit.training.start import fit_start, open_start
from edgevit.training.teacher import open_teacher

EpochEnd = Callable[[int, Plan, list[np.ndarray]], None]


def train_model(
    name: str,
    form: str | None,
    recipe: Recipe,
    train_set: ImageDataset,
    validation_set: ImageDataset,
    folder: Path,
    seed: int = 0,
    initial: str | Path | None = None,
    progress: StepProgress | None = None,
    variant: str | None = None,
    epoch_end: EpochEnd | None = None,
    fields: dict[str, Any] | None = None,
    teachers: Sequence[str] = (),
    teacher_progress: Callable[[int, int, int], None] | None = None,
    precision: str = "float32",
) -> TrainingResult:
    """Trains an architecture for the classes of a dataset.

    Args:
        name: an architecture.
        form: "paper" or "tutorial"; None: that of the initial weights, else "paper".
        recipe: how.
        train_set: images to learn from.
        validation_set: images to choose by.
        folder: for checkpoint, weights.safetensors (float16), log.csv, curves.png, recipe.json.
        seed: of everything random.
        initial: weights to start from, with their sizes (see
            :func:`edgevit.training.start.open_start`); a head for another number of classes is
            replaced. None: fresh ones.
        progress: see :func:`edgevit.training.loop.train`.
        variant: a published size, for fresh weights; None is the tutorial's.
        epoch_end: called after every epoch with (epochs done, plan, averaged weights).
        fields: other values for fields of the architecture's config, for fresh weights.
        teachers: whom a recipe with a ``teacher_share`` learns from; see
            :func:`edgevit.training.teacher.open_teacher`.
        teacher_progress: called with (view, images answered, images in all) while they answer.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.
    """
    check_teaching(recipe, bool(teachers))
    known = [open_teacher(teacher, train_set, precision) for teacher in teachers]
    start = fit_start(open_start(name, form, variant, initial, fields), train_set, seed)
    plan = start.plan
    call = (lambda epoch, weights: epoch_end(epoch, plan, weights)) if epoch_end else None
    result = train(
        plan,
        recipe,
        train_set,
        validation_set,
        folder,
        seed,
        start.weights,
        progress,
        call,
        known,
        teacher_progress,
        precision,
    )
    facts = {
        "initial": start.origin,
        "teachers": [teacher.origin for teacher in known],
        "precision": precision,
        "backend": keras.backend.backend(),
    }
    write_run(folder, plan, recipe, result, train_set, validation_set, seed, facts)
    return result


def write_run(
    folder: Path,
    plan: Plan,
    recipe: Recipe,
    result: TrainingResult,
    train_set: ImageDataset,
    validation_set: ImageDataset,
    seed: int,
    facts: dict[str, Any],
) -> None:
    """Writes what a run leaves for others: weights, log, curves and the recipe as followed.

    Args:
        facts: further entries of the recipe's file: "initial" (``Start.origin``, None: fresh
            weights), "teachers" (``Teacher.origin`` of each), "precision", "backend".
    """
    save_weights(folder / WEIGHTS_FILE, plan, result.weights, train_set.class_names, "float16")
    write_log(folder, result.log)
    draw_curves(result.log, folder / "curves.png", plan.spec.title)
    document = {
        "recipe": recipe,
        "seed": seed,
        **tell_once(facts),
        "epochs_completed": len(result.log),
        "data": train_set.source,
        "train_images": len(train_set),
        "validation_images": len(validation_set),
        "validation_top1": result.validation_top1,
    }
    write_whole(folder / RUN_FILE, (to_json(document, indent=2) + "\n").encode())
