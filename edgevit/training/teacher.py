"""Trained networks that another one learns from: their answers to the views that all see.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531); the
same augmented view for both after Beyer et al. 2021, "Knowledge distillation: A good teacher is
patient and consistent" (arXiv:2106.05237).

A teacher costs more than what it teaches: a pass of ShiftViT takes longer than a whole step of its
nano on the same image. So a recipe may repeat a few views (``Recipe.views``); then each
is answered once, the answers stay in the run's folder, and later epochs read them.

Several teachers teach the mean of their softened answers (Hinton et al., section 1), which is right
more often than any of them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import log_softmax, logsumexp

from edgevit.base import interrupt
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import write_whole
from edgevit.data.datasets import ImageDataset
from edgevit.models.build import build_plan, find_variant
from edgevit.models.history import describe_origin
from edgevit.models.weights import find_weights, load_model
from edgevit.training.fused_layers import fuse_layers
from edgevit.training.precision import policy_of
from edgevit.training.recipe import Recipe

TEACHER_BATCH = 250


@dataclass(frozen=True)
class Teacher:
    """A trained network on raw images of the training set's size.

    Attributes:
        network: uint8 B H W 3 -> {"logits": B classes}.
        digest: of its weights.
        origin: model, file, sha256 and run behind the weights.
        precision: of its products.
    """

    network: keras.Model
    digest: str
    origin: dict[str, Any]
    precision: str = "float32"


def open_teacher(name: str, dataset: ImageDataset, precision: str = "float32") -> Teacher:
    """Reads a teacher for the images and classes of a dataset.

    Args:
        name: an architecture with shipped weights, a .safetensors file or a run's folder.
        dataset: what is learnt from.
        precision: of the products, a key of :data:`edgevit.training.precision.PRECISIONS`.

    Raises:
        UnknownNameError: no such architecture, and no such file.
        ModelFileError: the weights cannot be read.
        ConfigError: it knows other classes, or is no network of ours.
    """
    trained = load_model(name)
    if trained.plan is None:
        raise ConfigError(
            f"{name}: a teacher is an architecture of edgevit: a name, a .safetensors file or the "
            "folder of a training run."
        )
    if trained.class_names != dataset.class_names:
        raise ConfigError(
            f"{name}: the teacher knows the classes {_few(trained.class_names)}, the dataset "
            f"{dataset.source} has {_few(dataset.class_names)}. They must be the same."
        )
    rows, columns = dataset.images.shape[1:3]
    contract = replace(trained.plan.preprocess, input_size=(rows, columns))
    plan = replace(trained.plan, preprocess=contract, outputs=("logits",))
    with policy_of(precision):
        network = build_plan(plan, preprocess=True)
    network.set_weights(trained.network.get_weights())
    network.trainable = False
    fuse_layers(network)
    variant = find_variant(plan)
    model = f"{plan.spec.name}:{variant}" if variant else plan.spec.name
    origin = {"model": model, **describe_origin(find_weights(name))}
    return Teacher(network, trained.weights_sha256, origin, precision)


class TeacherAnswers:
    """Teachers' logits for whole views of a dataset, each computed once.

    Args:
        teachers: who answers; at least one.
        recipe: augmentation, how many views repeat, and the temperature of several answers' mean.
        dataset: what is seen.
        seed: of the views.
        folder: where answers to repeated views are kept.
        progress: called with (view, images answered, images in all).
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        recipe: Recipe,
        dataset: ImageDataset,
        seed: int,
        folder: Path,
        progress: Callable[[int, int, int], None] | None = None,
    ):
        self.networks = {}
        seen = {key: asdict(recipe)[key] for key in VIEW_FIELDS}
        for teacher in teachers:
            text = json.dumps([teacher.digest, teacher.precision, dataset.digest, seed, seen])
            self.networks[hashlib.sha256(text.encode()).hexdigest()[:12]] = teacher.network
        self.temperature = recipe.temperature
        self.count = len(dataset)
        self.classes = len(dataset.class_names)
        self.repeated = recipe.views > 0
        self.folder = folder
        self.progress = progress

    def paths(self, view: int) -> list[Path]:
        """Where each teacher's answers to a view are kept; all others have other names."""
        return [self.folder / f"teacher-{key}-view{view}.npy" for key in self.networks]

    def to_view(self, view: int, batches: Iterator[np.ndarray]) -> np.ndarray:
        """Logits for every image of a view, in the dataset's order. float32 N classes.

        Those of several teachers are those whose softmax, at the recipe's temperature, is the mean
        of theirs.

        Args:
            view: its number.
            batches: the images of the view in order, uint8 B H W 3 each; not drawn if the answers
                are there.

        Raises:
            ModelFileError: kept answers are damaged.
            OutputError: answers cannot be kept.
        """
        kept = self.repeated
        asked = {
            path: network
            for path, network in zip(self.paths(view), self.networks.values(), strict=True)
            if not (kept and path.exists())
        }
        answers = dict(zip(asked, self._ask(view, list(asked.values()), batches), strict=True))
        for path, found in answers.items():
            if kept:
                stream = io.BytesIO()
                np.save(stream, found)
                write_whole(path, stream.getvalue())
        every = [
            answers[path] if path in answers else self._read(path) for path in self.paths(view)
        ]
        return average_answers([found.astype(np.float32) for found in every], self.temperature)

    def _ask(
        self, view: int, networks: list[keras.Model], batches: Iterator[np.ndarray]
    ) -> list[np.ndarray]:
        """Each network's logits for all images of a view. float16 N classes each."""
        answers: list[list[np.ndarray]] = [[] for _ in networks]
        done = 0
        for images in batches if networks else ():
            for network, found in zip(networks, answers, strict=True):
                logits = network.predict_on_batch(images)["logits"]  # B classes
                interrupt.check()
                found.append(np.asarray(ops.convert_to_numpy(logits), np.float16))
            done += len(images)
            if self.progress:
                self.progress(view, done, self.count)
        return [np.concatenate(found) for found in answers]

    def _read(self, path: Path) -> np.ndarray:
        try:
            answers = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise ModelFileError(
                f"{path}: the teacher's answers are damaged ({error}). Delete the file."
            ) from None
        if answers.shape != (self.count, self.classes):
            raise ModelFileError(
                f"{path}: the teacher's answers are damaged (shape {answers.shape}, not "
                f"{(self.count, self.classes)}). Delete the file."
            )
        return answers


VIEW_FIELDS = ("crop_padding", "flip", "trivial_augment", "jpeg_probability", "jpeg_quality")


def average_answers(
    answers: Sequence[np.ndarray], temperature: float, shares: Sequence[float] | None = None
) -> np.ndarray:
    """Logits whose softmax at a temperature is the mean of several ones'. N classes each.

    A single teacher's are returned as they are.

    Args:
        answers: logits.
        temperature: they are divided by it.
        shares: of each in the mean, their sum 1; None: equal ones.
    """
    if len(answers) == 1:
        return answers[0]
    softened = np.stack([log_softmax(found / temperature, axis=-1) for found in answers])
    weights = np.full(len(answers), 1 / len(answers)) if shares is None else np.asarray(shares)
    mean = logsumexp(softened, axis=0, b=weights[:, None, None])
    return np.asarray(temperature * mean, np.float32)


class DistillationLoss(keras.losses.Loss):
    """Cross-entropy with the labels, mixed with the distance to a teacher's softened answers.

    ``(1 - share) * CE(labels, z) + share * T^2 * KL(softmax(t / T) || softmax(z / T))``, equation 4
    and section 2 of Hinton et al.: the square keeps the gradient's size whatever the temperature.
    Targets are B 2*classes: labels, then the teacher's logits t.

    Args:
        share: of the second term, in [0, 1].
        temperature: T.
    """

    def __init__(self, share: float, temperature: float, **kwargs):
        super().__init__(**kwargs)
        self.share = share
        self.temperature = temperature

    def call(self, y_true, y_pred):
        labels, answers = split_targets(y_true, y_pred.shape[-1])  # B C, B C
        hard = -ops.sum(labels * ops.log_softmax(y_pred), axis=-1)  # B
        wanted = ops.log_softmax(answers / self.temperature)
        said = ops.log_softmax(y_pred / self.temperature)
        soft = ops.sum(ops.exp(wanted) * (wanted - said), axis=-1)  # B
        return (1 - self.share) * hard + self.share * self.temperature**2 * soft


def split_targets(targets, classes: int):
    """Labels B classes, and the teacher's logits B classes, of targets B 2*classes."""
    return targets[:, :classes], targets[:, classes:]


def label_accuracy(y_true, y_pred):
    """Share of images whose label, not whose teacher, is met. B 2*classes, B classes -> B."""
    labels, _ = split_targets(y_true, y_pred.shape[-1])
    return ops.cast(ops.argmax(labels, axis=-1) == ops.argmax(y_pred, axis=-1), "float32")


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return f"({shown})" if len(names) <= 4 else f"({shown} ... {len(names)} in all)"
