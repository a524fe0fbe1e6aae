"""A training run: ``keras.Model.fit`` on any backend, resumable to the same trajectory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgevit.base import interrupt
from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError
from edgevit.base.files import check_writable, write_whole
from edgevit.base.progress import JupyterBar, shown_in_jupyter
from edgevit.data.datasets import ImageDataset, digest_arrays
from edgevit.models.build import Plan, build_plan
from edgevit.models.history import RUN_FILE, tell_once
from edgevit.models.weights import WEIGHTS_FILE, save_weights
from edgevit.training.batches import TrainingBatches
from edgevit.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from edgevit.training.curves import draw_curves, write_log
from edgevit.training.distillation import Distiller, Teacher, check_teaching, open_teacher
from edgevit.training.precision import policy_of
from edgevit.training.recipe import Recipe
from edgevit.training.start import Start, fit_start, open_start

StepProgress = Callable[[int, int, int, dict], None]
EpochEnd = Callable[[int, Plan, list[np.ndarray]], None]
VALIDATION_BATCH = 250
# By the name in a recipe.
MAKERS: Mapping[str, Callable[..., keras.Optimizer]] = {
    "adamw": keras.optimizers.AdamW,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
}


@dataclass(frozen=True)
class TrainingResult:
    """The result of a finished run.

    Attributes:
        weights: the moving average, in ``get_weights`` order.
        log: one dict an epoch.
        validation_top1: percent of the validation images, of these weights.
    """

    weights: list[np.ndarray]
    log: list[dict]
    validation_top1: float


def _show(bar: JupyterBar, epoch: int, step: int, steps: int, values: dict) -> None:
    bar.status(f"epoch {epoch + 1}")
    bar.advance(step, steps)


@shown_in_jupyter(progress=_show)
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
    precision: str = "float32",
) -> TrainingResult:
    """Trains an architecture for the classes of a dataset; goes on where a kill left off.

    Args:
        name: an architecture.
        form: "paper" or "tutorial"; None: that of the initial weights, else "paper".
        recipe: how.
        train_set: images to learn from.
        validation_set: images of the same size and classes; seen after every epoch.
        folder: for checkpoint.npz, log.csv and curves.png, written after every epoch, and
            weights.safetensors (float16) and recipe.json at the end; made if missing.
        seed: of initial weights, order, augmentation and dropped paths.
        initial: weights to start from, with their sizes (see
            :func:`edgevit.training.start.open_start`); a head for another number of classes is
            replaced. None: fresh ones.
        progress: called with (epoch, step, steps an epoch, {"loss": ...}) every few steps.
        variant: a published size, for fresh weights; None is the tutorial's.
        epoch_end: called after every epoch with (epochs done, plan, averaged weights).
        fields: other values for fields of the architecture's config, for fresh weights.
        teachers: whom a recipe with a ``teacher_share`` distils from; see
            :func:`edgevit.training.distillation.open_teacher`.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.

    Raises:
        ConfigError: the folder holds the checkpoint of another run; recipe, teachers and
            architecture do not fit each other; or the loss is not finite.
        ModelFileError: weights or the checkpoint in the folder are damaged.
        OutputError: the folder cannot be written to.
    """
    check_teaching(recipe, bool(teachers))
    opened = [open_teacher(teacher, train_set, precision) for teacher in teachers]
    start = fit_start(open_start(name, form, variant, initial, fields), train_set, seed)
    check_writable(folder)
    checkpoint = _find_checkpoint(folder, start, recipe, train_set, seed, opened, precision)
    keras.utils.set_random_seed(seed)
    steps = max(1, len(train_set) // recipe.batch_size)
    network, model = compile_model(start.plan, recipe, steps, opened, precision)
    if start.weights is not None:
        network.set_weights(start.weights)
    if checkpoint.log:
        checkpoint.restore(network, model.optimizer)
    log = checkpoint.log
    if len(log) < recipe.epochs:
        batches = TrainingBatches(train_set, recipe, seed)
        call = _EpochEnd(folder, start.plan, network, batches, checkpoint, progress, epoch_end)
        log = fit_model(model, recipe, batches, validation_set, call)
    model.optimizer.finalize_variable_values(network.trainable_variables)  # the moving average
    result = TrainingResult(network.get_weights(), log, log[-1]["validation_top1"])
    save_weights(
        folder / WEIGHTS_FILE, start.plan, result.weights, train_set.class_names, "float16"
    )
    origins = {"initial": start.origin, "teachers": [teacher.origin for teacher in opened]}
    document = {
        "recipe": recipe,
        "seed": seed,
        **tell_once(origins),
        "precision": precision,
        "backend": keras.backend.backend(),
        "epochs_completed": len(result.log),
        "data": train_set.source,
        "train_images": len(train_set),
        "validation_images": len(validation_set),
        "validation_top1": result.validation_top1,
    }
    write_whole(folder / RUN_FILE, (to_json(document, indent=2) + "\n").encode())
    return result


def compile_model(
    plan: Plan,
    recipe: Recipe,
    steps: int,
    teachers: Sequence[Teacher] = (),
    precision: str = "float32",
) -> tuple[keras.Model, keras.Model]:
    """Builds a network as it is trained: on raw images, with the recipe's rates and optimizer.

    Args:
        plan: what is trained.
        recipe: how.
        steps: an epoch.
        teachers: whom it is distilled from.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.

    Returns:
        The network, uint8 B H W 3 -> B classes (logits); the compiled model that trains it.

    Raises:
        ConfigError: the recipe sets a field that the architecture does not have.
    """
    missing = sorted({*recipe.config} - {field.name for field in fields(plan.config)})
    if missing:
        raise ConfigError(
            f"the recipe {recipe.name} sets {', '.join(missing)}, which {plan.spec.name} does not "
            "have. Give another --recipe."
        )
    with policy_of(precision):
        config = replace(plan.config, **recipe.config)
        built = build_plan(replace(plan, config=config, outputs=("logits",)), preprocess=True)
    network = keras.Model(built.inputs, built.output["logits"], name=built.name)
    model = network
    if teachers:
        networks = [teacher.network for teacher in teachers]
        model = Distiller(network, networks, recipe.teacher_share, recipe.temperature)
    total, warmup = recipe.epochs * steps, int(recipe.warmup_epochs * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / max(1, warmup),  # the first step moves too
        max(1, total - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = MAKERS[recipe.optimizer](
        rate,
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema_momentum > 0,
        ema_momentum=recipe.ema_momentum,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
    return network, model


def fit_model(
    model: keras.Model,
    recipe: Recipe,
    batches: TrainingBatches,
    validation_set: ImageDataset,
    watcher: _EpochEnd,
) -> list[dict]:
    """Trains a compiled model for the epochs that are left, and returns the log of all."""
    done = len(watcher.log)
    batches.start_epoch(done)  # Keras looks at a batch before the epoch begins
    average = [keras.callbacks.SwapEMAWeights()] if recipe.ema_momentum else []
    targets = np.eye(len(validation_set.class_names), dtype=np.float32)[validation_set.labels]
    model.fit(
        batches,
        validation_data=(validation_set.images, targets),
        validation_batch_size=VALIDATION_BATCH,
        initial_epoch=done,
        epochs=recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[watcher, *average],
    )
    return watcher.log


def _find_checkpoint(
    folder: Path,
    start: Start,
    recipe: Recipe,
    train_set: ImageDataset,
    seed: int,
    teachers: Sequence[Teacher],
    precision: str,
) -> Checkpoint:
    """The checkpoint in a folder, or an empty one; ConfigError: it is that of another run."""
    identity = {
        "recipe": asdict(recipe),
        "seed": seed,
        "data": train_set.digest,
        "model": start.plan.spec.name,
        "config": asdict(start.plan.config),
        "initial": digest_arrays(*start.weights) if start.weights is not None else None,
        "teacher": "+".join(teacher.digest for teacher in teachers) or None,
        "precision": precision,
    }
    identity = json.loads(json.dumps(identity))  # with lists for tuples, as it is read
    checkpoint = read_checkpoint(folder) or Checkpoint(identity, [], [], [])
    differing = [key for key in identity if checkpoint.identity.get(key) != identity[key]]
    if differing:
        raise ConfigError(
            f"{folder}: holds the checkpoint of another run (differs in {', '.join(differing)}). "
            "Give another --out, or delete checkpoint.npz."
        )
    return checkpoint


class _EpochEnd(keras.callbacks.Callback):
    """Seeds each epoch; after it writes checkpoint, log and curves.

    It stands before SwapEMAWeights among the callbacks: when a validation ends, the network still
    holds the averaged weights.
    """

    def __init__(self, folder, plan, network, batches, checkpoint, progress, epoch_end):
        super().__init__()
        self.folder = folder
        self.plan = plan
        self.network = network
        self.batches = batches
        self.identity = checkpoint.identity
        self.log = list(checkpoint.log)
        self.progress = progress
        self.epoch_end = epoch_end

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)
        for number, variable in enumerate(random_states(self.model)):
            words = np.random.SeedSequence((self.batches.seed, epoch, number)).generate_state(2)
            variable.assign(words.astype(variable.dtype))
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        interrupt.check()
        steps = len(self.batches)
        if self.progress and (batch % 5 == 0 or batch + 1 == steps):
            values = {key: float(value) for key, value in (logs or {}).items()}
            self.progress(self.batches.epoch, batch + 1, steps, values)

    def on_test_begin(self, logs=None):
        self.seconds = time.perf_counter() - self.started

    def on_test_end(self, logs=None):
        if self.epoch_end:
            self.epoch_end(self.batches.epoch + 1, self.plan, self.network.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        values = {key: float(value) for key, value in (logs or {}).items()}
        if not np.isfinite(values["loss"]):
            raise ConfigError(
                f"the loss is {values['loss']} after epoch {epoch + 1}. Lower the learning rate; "
                "the checkpoint of the epoch before is kept."
            )
        row = {
            "epoch": epoch + 1,
            "loss": round(values["loss"], 5),
            "train_top1": round(100 * values["accuracy"], 2),
            "validation_top1": round(100 * values["val_accuracy"], 2),
            "seconds": round(self.seconds, 1),
        }
        self.log.append(row)
        write_checkpoint(self.folder, self.network, self.model.optimizer, self.identity, self.log)
        write_log(self.folder, self.log)
        draw_curves(self.folder, self.log, self.plan.spec.title)


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of all random-number generators inside a model, in a fixed order."""
    return [one for one in model.non_trainable_variables if one.name == "seed_generator_state"]
