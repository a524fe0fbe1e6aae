"""The training run: plain ``keras.Model.fit`` on any backend, resumable to the same trajectory."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import keras
import numpy as np

from edgevit.base import interrupt
from edgevit.base.errors import ConfigError
from edgevit.base.files import check_writable, write_whole
from edgevit.data.datasets import ImageDataset, digest_arrays
from edgevit.models.build import Plan, build_plan
from edgevit.training.adamw import make_adamw
from edgevit.training.augment import AugmentedBatches
from edgevit.training.checkpoint import read_state, restore_checkpoint, write_checkpoint
from edgevit.training.fused_layers import fuse_layers
from edgevit.training.precision import policy_of
from edgevit.training.recipe import Phase, Recipe
from edgevit.training.schedule import WarmupCosine
from edgevit.training.teacher import DistillationLoss, Teacher, TeacherAnswers, label_accuracy

StepProgress = Callable[[int, int, int, dict], None]
MONITOR_IMAGES = 2000
# A checkpoint that is written in more than so many seconds takes one part in so many of the time.
SLOW_CHECKPOINT, PARTS = 1.0, 20


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run leaves in memory.

    Attributes:
        weights: the moving average, in ``get_weights`` order.
        log: one dict an epoch.
        validation_top1: percent, on all validation images.
    """

    weights: list[np.ndarray]
    log: list[dict]
    validation_top1: float


def train(
    plan: Plan,
    recipe: Recipe,
    train_set: ImageDataset,
    validation_set: ImageDataset,
    folder: Path,
    seed: int = 0,
    initial_weights: list[np.ndarray] | None = None,
    progress: StepProgress | None = None,
    epoch_end: Callable[[int, list[np.ndarray]], None] | None = None,
    teachers: Sequence[Teacher] = (),
    teacher_progress: Callable[[int, int, int], None] | None = None,
    precision: str = "float32",
) -> TrainingResult:
    """Trains, writing a checkpoint and a log after every epoch; resumes where a kill left off.

    Where a checkpoint is slow to write and epochs are short, some epochs go without one.

    Args:
        plan: what to train.
        recipe: how.
        train_set: uint8 images of plan.preprocess.input_size.
        validation_set: likewise; the first 2,000 are watched, all are used at the end.
        folder: checkpoint, log.csv; made if missing.
        seed: of initial weights, order, augmentation and dropped paths.
        initial_weights: to start from, in ``get_weights`` order; None: fresh ones.
        progress: called with (epoch, step, steps an epoch, {"loss": ...}) every few steps.
        epoch_end: called after every epoch with (epochs done, averaged weights).
        teachers: whom a recipe with a ``teacher_share`` learns from.
        teacher_progress: called with (view, images answered, images in all) while they answer.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.

    Raises:
        ConfigError: the folder holds the checkpoint of another run; the images do not fit the
            network; or the loss is not finite.
        ModelFileError: the checkpoint in the folder is damaged.
        OutputError: the folder cannot be written to.
    """
    _check_data(plan, train_set)
    _check_data(plan, validation_set)
    check_fields(plan, recipe)
    check_teaching(recipe, bool(teachers))
    check_writable(folder)
    identity = {
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "seed": seed,
        "data": train_set.digest,
        "model": plan.spec.name,
        "config": json.loads(json.dumps(asdict(plan.config))),
        "initial": digest_arrays(*initial_weights) if initial_weights is not None else None,
        "teacher": "+".join(teacher.digest for teacher in teachers) or None,
        "precision": precision,
    }
    state = read_state(folder)
    known = state["identity"] if state is not None else {}
    differing = [key for key in identity if _differs(known.get(key, identity[key]), identity[key])]
    if differing:
        raise ConfigError(
            f"{folder}: holds the checkpoint of another run (differs in {', '.join(differing)}). "
            "Give another --out, or delete checkpoint.npz."
        )
    answers = None
    if teachers:
        answers = TeacherAnswers(teachers, recipe, train_set, seed, folder, teacher_progress)
    batches = AugmentedBatches(train_set, recipe, seed, answers)
    phases = recipe.phases(plan.config.image_size, plan.spec.resizable)
    for phase in phases:
        state = read_state(folder)
        done = state["epoch"] if state else 0
        if done >= phase.end and phase.end != recipe.epochs:
            continue
        keras.utils.set_random_seed(seed)
        model = compile_model(plan, recipe, phase, len(batches), precision)
        if state:
            restore_checkpoint(folder, model)
        elif initial_weights is not None:
            model.set_weights(initial_weights)
        if done < phase.end:
            last = phase.end
            watcher = _EpochEnd(
                folder, identity, state, batches, validation_set, seed, progress, epoch_end, last
            )
            begin = max(phase.first, done)
            batches.start_epoch(begin)  # Keras looks at a batch before the epoch begins
            model.fit(
                batches,
                initial_epoch=begin,
                epochs=last,
                shuffle=False,
                verbose=0,
                callbacks=[watcher],
            )
    restore_checkpoint(folder, model)
    with_average(model)
    top1 = 100 * float(np.mean(predict(model, validation_set.images) == validation_set.labels))
    state = read_state(folder)
    assert state is not None  # at least one epoch was trained or restored
    return TrainingResult(model.get_weights(), state["log"], top1)


def check_teaching(recipe: Recipe, taught: bool) -> None:
    """Raises ConfigError unless a recipe that learns from a teacher has one, and no other."""
    if recipe.teacher_share and not taught:
        raise ConfigError(
            f"the recipe {recipe.name} learns from a teacher. Give --teacher, such as "
            "--teacher shiftvit."
        )
    if taught and not recipe.teacher_share:
        raise ConfigError(
            f"the recipe {recipe.name} has no use for a teacher (teacher_share is 0). Drop "
            "--teacher, or give --recipe nano."
        )


def check_fields(plan: Plan, recipe: Recipe) -> None:
    """Raises ConfigError when a recipe sets a field that the architecture does not have."""
    known = {field.name for field in fields(plan.config)}
    missing = sorted({*recipe.config, *recipe.final_config} - known)
    if missing:
        raise ConfigError(
            f"the recipe {recipe.name} sets {', '.join(missing)}, which {plan.spec.name} does not "
            "have. Give another --recipe."
        )


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 250) -> np.ndarray:
    """Class index for each raw image. int64 N."""
    logits = model.predict(images, batch_size=batch_size, verbose=0)["logits"]
    return np.argmax(logits, axis=-1)


def with_average(model: keras.Model) -> None:
    """Exchanges the weights with the optimizer's moving average; a second call undoes it."""
    optimizer = model.optimizer
    if not optimizer.use_ema:
        return
    averages = optimizer._model_variables_moving_average
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        kept = np.array(keras.ops.convert_to_numpy(variable))
        variable.assign(np.array(keras.ops.convert_to_numpy(average)))
        average.assign(kept)


def write_log(folder: Path, log: list[dict]) -> None:
    """Writes log.csv, one row an epoch."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(log[0]))
    writer.writeheader()
    writer.writerows(log)
    write_whole(folder / "log.csv", stream.getvalue().encode())


def _check_data(plan: Plan, dataset: ImageDataset) -> None:
    (rows, columns), classes = dataset.images.shape[1:3], len(dataset.class_names)
    if (rows, columns) != plan.preprocess.input_size or classes != plan.config.num_classes:
        raise ConfigError(
            f"{dataset.source}: {classes} classes of {rows}x{columns} pixels do not fit a network "
            f"of num_classes={plan.config.num_classes}, input_size={plan.preprocess.input_size}."
        )


def _differs(known, value) -> bool:
    """Whether an entry of a run's identity changed. A recipe or config that is older than one of
    its fields cannot differ in it."""
    if isinstance(known, dict) and isinstance(value, dict):
        value = {key: value.get(key) for key in known}
    return bool(known != value)


def compile_model(
    plan: Plan, recipe: Recipe, phase: Phase, steps: int, precision: str = "float32"
) -> keras.Model:
    """The network as it is trained: on raw images, with the recipe's dropout, optimizer and loss.

    Args:
        plan: what is trained.
        recipe: how.
        phase: one of the recipe's.
        steps: an epoch.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.

    Raises:
        ConfigError: see :func:`check_fields`.
    """
    check_fields(plan, recipe)
    config = replace(plan.config, **{**phase.config, "image_size": phase.image_size})
    preprocess = replace(config.preprocess(), input_size=plan.preprocess.input_size)
    with policy_of(precision):
        model = build_plan(Plan(plan.spec, config, preprocess), preprocess=True)  # logits alone
    fuse_layers(model)
    optimizer = make_adamw(
        learning_rate=WarmupCosine(
            recipe.learning_rate, int(recipe.warmup_epochs * steps), recipe.epochs * steps
        ),
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema_momentum > 0,
        ema_momentum=recipe.ema_momentum,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss: keras.losses.Loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    accuracy: keras.metrics.Metric = keras.metrics.CategoricalAccuracy(name="accuracy")
    if recipe.teacher_share:
        loss = DistillationLoss(recipe.teacher_share, recipe.temperature)
        accuracy = keras.metrics.MeanMetricWrapper(label_accuracy, name="accuracy")
    model.compile(optimizer=optimizer, loss={"logits": loss}, metrics={"logits": [accuracy]})
    return model


class _EpochEnd(keras.callbacks.Callback):
    """Seeds each epoch; after it validates the average, writes log and checkpoint.

    Args:
        last: epoch after which training ends, or the image size changes.
    """

    def __init__(
        self, folder, identity, state, batches, validation_set, seed, progress, epoch_end, last
    ):
        super().__init__()
        self.folder = folder
        self.identity = identity
        self.log = list(state["log"]) if state else []
        self.batches = batches
        self.watched = validation_set.select(
            np.random.default_rng(0).permutation(len(validation_set))[:MONITOR_IMAGES]
        )
        self.seed = seed
        self.progress = progress
        self.epoch_end = epoch_end
        self.last = last
        self.written = time.perf_counter()  # the last checkpoint
        self.pause = 0.0  # seconds until the next

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.batches.start_epoch(epoch)
        self.started = time.perf_counter()  # teachers' answers are none of the epoch's time
        for number, variable in enumerate(seed_variables(self.model)):
            words = np.random.SeedSequence((self.seed, epoch, number)).generate_state(2)
            variable.assign(words.astype(variable.dtype))

    def on_train_batch_end(self, batch, logs=None):
        interrupt.check()
        if self.progress and (batch % 5 == 0 or batch + 1 == len(self.batches)):
            values = {key: float(value) for key, value in (logs or {}).items()}
            self.progress(self.epoch, batch + 1, len(self.batches), values)

    def on_epoch_end(self, epoch, logs=None):
        logs = {key: float(value) for key, value in (logs or {}).items()}
        if not np.isfinite(logs["loss"]):
            raise ConfigError(
                f"the loss is {logs['loss']} after epoch {epoch + 1}. Lower the learning rate; the "
                "checkpoint of the epoch before is kept."
            )
        seconds = time.perf_counter() - self.started
        with_average(self.model)
        top1 = float(np.mean(predict(self.model, self.watched.images) == self.watched.labels))
        if self.epoch_end:
            self.epoch_end(epoch + 1, self.model.get_weights())
        with_average(self.model)
        self.log.append(
            {
                "epoch": epoch + 1,
                "image_size": self.model.get_layer("preprocessing").contract.network_size[0],
                "loss": round(logs["loss"], 5),
                "train_top1": round(100 * logs["accuracy"], 2),
                "validation_top1": round(100 * top1, 2),
                "seconds": round(seconds, 1),
            }
        )
        if epoch + 1 == self.last or time.perf_counter() - self.written >= self.pause:
            self._write(epoch)
        write_log(self.folder, self.log)

    def _write(self, epoch):
        started = time.perf_counter()
        write_checkpoint(self.folder, self.model, epoch + 1, self.identity, self.log)
        self.written = time.perf_counter()
        seconds = self.written - started
        self.pause = PARTS * seconds if seconds > SLOW_CHECKPOINT else 0.0


def seed_variables(model: keras.Model) -> list:
    """States of all random-number generators inside a model, in a fixed order."""
    return [
        layer.seed_generator.state
        for layer in model._flatten_layers()
        if hasattr(layer, "seed_generator") and layer.seed_generator is not None
    ]
