"""Trained networks that another one is distilled from.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531). The
teachers see the batch that the student sees, crops and mixtures included: Beyer et al. 2021,
"Knowledge distillation: A good teacher is patient and consistent" (arXiv:2106.05237).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from edgevit.base.errors import ConfigError
from edgevit.data.datasets import ImageDataset
from edgevit.frontend.sources.table import load_source
from edgevit.models.build import build_plan, find_variant
from edgevit.models.history import describe_origin
from edgevit.models.weights import find_weights
from edgevit.training.precision import policy_of
from edgevit.training.recipe import Recipe


@dataclass(frozen=True)
class Teacher:
    """A trained network on raw images of the training set's size.

    Attributes:
        network: uint8 B H W 3 -> {"logits": B classes}.
        digest: of its weights.
        origin: model, file, sha256 and run behind the weights.
    """

    network: keras.Model
    digest: str
    origin: dict[str, Any]


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
    trained = load_source(name)
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
    variant = find_variant(plan)
    model = f"{plan.spec.name}:{variant}" if variant else plan.spec.name
    origin = {"model": model, **describe_origin(find_weights(name))}
    return Teacher(network, trained.weights_sha256, origin)


def check_teaching(recipe: Recipe, taught: bool) -> None:
    """Raises ConfigError unless a recipe with a teacher's share has a teacher, and no other."""
    if recipe.teacher_share and not taught:
        raise ConfigError(
            f"the recipe {recipe.name} distils from a teacher. Give --teacher, such as "
            "--teacher shiftvit."
        )
    if taught and not recipe.teacher_share:
        raise ConfigError(
            f"the recipe {recipe.name} has no use for a teacher (teacher_share is 0). Drop "
            "--teacher, or give --recipe distill."
        )


class Distiller(keras.Model):
    """A student whose training loss is partly the distance to the outputs of teachers.

    Args:
        student: the network that is trained, uint8 B H W 3 -> B classes (logits).
        teachers: on the same images; at least one.
        share: of the distance in the loss, in [0, 1].
        temperature: T of :func:`distillation_distance`.
    """

    def __init__(
        self,
        student: keras.Model,
        teachers: Sequence[keras.Model],
        share: float,
        temperature: float,
    ):
        super().__init__(name=student.name)
        self.student = student
        self.teachers = list(teachers)
        self.share = share
        self.temperature = temperature

    def call(self, images, training=False):
        return self.student(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        taught = [teacher(x, training=False)["logits"] for teacher in self.teachers]
        distance = ops.mean(distillation_distance(taught, y_pred, self.temperature))
        return (1 - self.share) * loss + self.share * distance


def distillation_distance(taught: Sequence[Any], logits: Any, temperature: float) -> Any:
    """``T^2 KL(mean softmax(t / T) || softmax(z / T))`` for each image, section 2 of Hinton et al.

    The square keeps the gradient's size whatever the temperature.

    Args:
        taught: each teacher's logits t, B classes.
        logits: the student's z, B classes.
        temperature: T.
    """
    each = [ops.log_softmax(ops.cast(one, "float32") / temperature) for one in taught]  # B classes
    wanted = ops.logsumexp(ops.stack(each), axis=0) - float(np.log(len(each)))  # B classes
    found = ops.log_softmax(ops.cast(logits, "float32") / temperature)
    return temperature**2 * ops.sum(ops.exp(wanted) * (wanted - found), axis=-1)


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return f"({shown})" if len(names) <= 4 else f"({shown} ... {len(names)} in all)"
