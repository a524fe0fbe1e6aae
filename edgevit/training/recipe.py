"""Training recipes: four by name, any other from the file beside weights that were trained so."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgevit.base.documents import from_plain, read_json
from edgevit.base.errors import (
    ConfigError,
    ModelFileError,
    UnknownNameError,
    find_named,
    in_one_line,
)
from edgevit.data.datasets import HELD_OUT
from edgevit.models.history import RUN_FILE

# Fields of recipes that were followed by earlier versions: nothing reads them any more.
RETIRED = frozenset(
    {
        "final_config",
        "final_epochs",
        "jpeg_probability",
        "jpeg_quality",
        "resolutions",
        "trivial_augment",
        "views",
    }
)

OPTIMIZERS = ("adamw", "sgd")  # the latter with Nesterov's momentum of 0.9


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: as typed on the command line and written into the model card.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: its peak, after the warm-up.
        warmup_epochs: epochs of linear warm-up; a cosine to zero follows.
        weight_decay: decoupled from the gradient (Loshchilov and Hutter 2017,
            arXiv:1711.05101); not applied to biases and norms.
        label_smoothing: share of the target spread over all classes.
        clip_norm: global gradient norm; 0 is off.
        ema_momentum: of the exponential moving average of the weights, which is what is
            validated and written at the end; 0 is off.
        config: fields of the architecture's config that differ in training (dropout rates).
        crop_padding: largest random translation in pixels; the border is a reflection.
        flip: whether images are mirrored at random.
        rand_augment: strength of RandAugment's two operations a batch (Cubuk et al. 2019,
            arXiv:1909.13719), in [0, 1]; 0 is off.
        cutmix_probability: share of batches mixed by CutMix (Yun et al. 2019, arXiv:1905.04899).
        mixup_probability: share of batches mixed by MixUp (Zhang et al. 2017, arXiv:1710.09412).
        mixing_until: fraction of the epochs after which no batch is mixed.
        teacher_share: share of the loss that is the distance to the teachers' outputs (Hinton et
            al. 2015, arXiv:1503.02531); the rest is the cross-entropy with the labels. 0: no
            teacher.
        temperature: logits of teacher and student are divided by it before they are compared.
        held_out: share of the training images that are not learnt from, but validated on. A smaller
            share holds out some of the images of a larger one, so weights and teachers of an
            earlier run have not seen them either.
        optimizer: one of OPTIMIZERS; "sgd" suits networks of a few convolutions.
    """

    name: str
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_epochs: float = 1.5
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    ema_momentum: float = 0.998
    config: dict[str, Any] = field(default_factory=lambda: {"dropout": 0.0, "drop_path": 0.1})
    crop_padding: int = 4
    flip: bool = True
    rand_augment: float = 0.0
    cutmix_probability: float = 0.0
    mixup_probability: float = 0.0
    mixing_until: float = 0.8
    teacher_share: float = 0.0
    temperature: float = 1.0
    held_out: float = HELD_OUT
    optimizer: str = "adamw"

    def __post_init__(self):
        limits = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "temperature": self.temperature > 0,
            "crop_padding": self.crop_padding >= 0,
            "rand_augment": 0 <= self.rand_augment <= 1,
            "teacher_share": 0 <= self.teacher_share <= 1,
            "ema_momentum": 0 <= self.ema_momentum < 1,
            "mixup_probability": 0 <= self.cutmix_probability + self.mixup_probability <= 1,
        }
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(
                f"a recipe's optimizer is one of {', '.join(OPTIMIZERS)}. Received: "
                f"{self.optimizer!r}"
            )
        wrong = [f"{name}={getattr(self, name)}" for name, holds in limits.items() if not holds]
        if wrong:
            raise ConfigError(
                "a recipe needs at least one epoch and one image a batch, a temperature above 0, "
                "and shares between 0 and 1 (CutMix and MixUp together too). "
                f"Received: {', '.join(wrong)}"
            )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("default", cutmix_probability=0.5),
        # To see a network learn, often with --limit. No average of the weights, which would lag
        # behind in so few steps.
        Recipe(
            "quick",
            epochs=6,
            batch_size=64,
            ema_momentum=0.0,
            config={"dropout": 0.0, "drop_path": 0.05},
        ),
        # A few epochs on somebody's own pictures, from weights trained on others (`--init`).
        Recipe(
            "finetune",
            epochs=5,
            batch_size=32,
            learning_rate=1e-4,
            warmup_epochs=0.5,
            ema_momentum=0.0,
        ),
        # From one or several teachers (`--teacher`): nothing that blurs their outputs.
        Recipe(
            "distill",
            epochs=36,
            learning_rate=2e-3,
            warmup_epochs=1.0,
            weight_decay=0.02,
            label_smoothing=0.0,
            config={"dropout": 0.0, "drop_path": 0.0},
            cutmix_probability=0.3,
            teacher_share=0.6,
            temperature=2.0,
        ),
    )
}


def open_recipe(name: str) -> tuple[Recipe, tuple[str, ...]]:
    """Finds a recipe by its name, or reads the one that a training run followed.

    Args:
        name: a key of :data:`RECIPES`, a recipe.json, or the folder of weights that holds one.

    Returns:
        The recipe; the fields that the file sets and no recipe has any more, as "name=value".

    Raises:
        UnknownNameError: there is no such recipe, or the file sets a field that none ever had.
        ModelFileError: the file cannot be read or holds no recipe.
        ConfigError: its values make no sense.
    """
    path = Path(name)
    if name in RECIPES or not (path.suffix == ".json" or path.is_dir()):
        hint = "A file is named by its path, such as artifacts/shiftvit/recipe.json."
        return find_named("recipe", name, RECIPES, hint), ()
    return _read_recipe(path / RUN_FILE if path.is_dir() else path)


def _read_recipe(file: Path) -> tuple[Recipe, tuple[str, ...]]:
    try:
        values = read_json(file, "the recipe")["recipe"]
        recipe = from_plain(Recipe, values)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error.__cause__, ConfigError):  # the reader wraps what the class refuses
            raise ConfigError(f"{file}: {error.__cause__}") from None
        raise ModelFileError(
            f"{file}: holds no recipe of a training run ({in_one_line(error)})."
        ) from None
    known = {one.name for one in fields(Recipe)}
    for key in values:
        if key not in known | RETIRED:
            raise UnknownNameError(f"field of the recipe in {file}:", key, known)
    return recipe, tuple(f"{key}={values[key]}" for key in sorted(RETIRED) if values.get(key))
