"""How much of a recipe fits into a given time on this machine."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.models.build import Plan
from edgevit.training.checkpoint import read_state
from edgevit.training.loop import compile_model
from edgevit.training.recipe import Phase, Recipe

WARM_UP, TIMED = 3, 12  # steps at each image size
SPARE = 0.9  # of the time: validation and checkpoints take the rest


def shorten_recipe(
    recipe: Recipe,
    plan: Plan,
    images: int,
    minutes: float,
    folder: Path,
    precision: str = "float32",
) -> Recipe:
    """A recipe with as many of its epochs as fit into so many minutes.

    A few steps of every phase are timed on drawn pixels; that, and compiling the network once
    more for the run, comes out of the same minutes. Where the folder holds the checkpoint of a
    shortened run, its number of epochs is kept, so that the same command resumes it.

    Args:
        recipe: with the epochs that there may be at most.
        plan: what is trained.
        images: an epoch.
        minutes: for training; a teacher's answers come on top.
        folder: of the run.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.

    Raises:
        ConfigError: not even one epoch fits.
        ModelFileError: the checkpoint in the folder is damaged.
    """
    state = read_state(folder)
    if state is not None:
        return recipe.shortened(min(recipe.epochs, state["identity"]["recipe"]["epochs"]))
    steps = max(1, images // recipe.batch_size)
    shown = replace(recipe, batch_size=min(recipe.batch_size, images))
    phases = recipe.phases(plan.config.image_size, plan.spec.resizable)
    started = time.perf_counter()
    epoch = compiling = 0.0
    for phase in phases:
        step, ready = time_step(plan, shown, phase, precision)
        epoch += steps * step * (phase.end - phase.first) / recipe.epochs
        compiling += ready
    left = 60 * minutes - (time.perf_counter() - started) - compiling
    fitting = int(SPARE * left / epoch)
    if fitting < 1:
        raise ConfigError(
            f"compiling takes {compiling / 60:.1f} minutes here and an epoch of {images:,} images "
            f"about {epoch / 60:.1f}, so none fits into {minutes:g}. Give more --minutes, or a "
            "--limit."
        )
    return recipe.shortened(min(recipe.epochs, fitting))


def time_step(
    plan: Plan, recipe: Recipe, phase: Phase, precision: str = "float32"
) -> tuple[float, float]:
    """Seconds of one step of training, the median of a few; and of what comes before the second."""
    beginning = time.perf_counter()
    model = compile_model(plan, recipe, phase, steps=100, precision=precision)
    rng = np.random.default_rng(0)
    shape = (recipe.batch_size, *plan.preprocess.input_size, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    classes = plan.config.num_classes * (2 if recipe.teacher_share else 1)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, recipe.batch_size)]
    times: list[float] = []
    ready = 0.0
    for _ in range(WARM_UP + TIMED):
        started = time.perf_counter()
        model.train_on_batch(pixels, targets)  # comes back as a number: the step is over
        times.append(time.perf_counter() - started)
        ready = ready or time.perf_counter() - beginning
    return float(np.median(times[WARM_UP:])), ready
