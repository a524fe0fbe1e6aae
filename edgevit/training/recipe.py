"""Training recipes, each a frozen value with a name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from edgevit.base.errors import ConfigError, find_named
from edgevit.data.datasets import HELD_OUT


@dataclass(frozen=True)
class Phase:
    """Epochs in which the network that is trained stays the same.

    Attributes:
        first: epoch with which it begins.
        end: epoch after its last.
        image_size: of the network, in pixels.
        config: fields of the architecture's config that differ.
    """

    first: int
    end: int
    image_size: int
    config: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: as typed on the command line and written into the model card.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: peak of AdamW's rate, after the warm-up.
        warmup_epochs: epochs of linear warm-up; a cosine to zero follows.
        weight_decay: of AdamW; not applied to biases and norms.
        label_smoothing: share of the target spread over all classes.
        clip_norm: global gradient norm; 0 is off.
        ema_momentum: of the exponential moving average of the weights, which is what is
            validated and shipped; 0 is off.
        config: fields of the architecture's config that differ in training (dropout rates).
        final_epochs: epochs at the end in which ``final_config`` holds too.
        final_config: fields that differ from ``config`` there, such as a patch_dropout of 0 after
            epochs in which the network saw half of each image.
        resolutions: (first epoch, network's image size) pairs; empty: the config's own size
            throughout, as for a network that is not resizable. Small images first cost a fraction
            (Tan & Le 2021, arXiv:2104.00298).
        crop_padding: pixels of reflected border for the random crop.
        flip: whether images are mirrored at random.
        trivial_augment: share of images that are distorted by one random operation
            (:mod:`edgevit.training.distort`).
        jpeg_probability: share of images that are re-encoded as JPEG.
        jpeg_quality: lowest and highest quality of that JPEG.
        cutmix_probability: share of batches mixed by CutMix (Yun et al. 2019, arXiv:1905.04899). A
            teacher is not asked about mixtures: its softened answers are mixed by area like the
            labels.
        mixing_until: fraction of the epochs after which CutMix is off.
        teacher_share: share of the loss that is the distance to a teacher's answers (Hinton et
            al. 2015, arXiv:1503.02531); the rest is the cross-entropy with the labels. 0: no
            teacher.
        temperature: both answers' logits are divided by it before they are compared.
        held_out: share of the training images that are not learnt from, but validated on. A smaller
            share holds out some of the images of a larger one, so weights and teachers of an
            earlier run have not seen them either.
        views: with a teacher, augmented views of an image: epoch n shows view n modulo this
            number. The teacher sees the same view as the network that it teaches (Beyer et al.
            2021, arXiv:2106.05237), so its answers to each are computed once. 0: a new view, and
            a new answer, every epoch.
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
    config: dict = field(default_factory=lambda: {"dropout": 0.0, "drop_path": 0.1})
    final_epochs: int = 0
    final_config: dict = field(default_factory=dict)
    resolutions: tuple[tuple[int, int], ...] = ()
    crop_padding: int = 4
    flip: bool = True
    trivial_augment: float = 0.0
    jpeg_probability: float = 0.3
    jpeg_quality: tuple[int, int] = (50, 100)
    cutmix_probability: float = 0.0
    mixing_until: float = 0.8
    teacher_share: float = 0.0
    temperature: float = 1.0
    views: int = 0
    held_out: float = HELD_OUT

    def __post_init__(self):
        if not 0 <= self.teacher_share <= 1 or not self.temperature > 0 or self.views < 0:
            raise ConfigError(
                "a recipe needs a teacher_share in [0, 1], a temperature above 0 and views of 0 or "
                f"more. Received: teacher_share={self.teacher_share}, "
                f"temperature={self.temperature}, views={self.views}"
            )
        if self.final_epochs < 0 or bool(self.final_epochs) != bool(self.final_config):
            raise ConfigError(
                "final_config holds for final_epochs: a recipe needs both or neither. Received: "
                f"final_epochs={self.final_epochs}, final_config={self.final_config}"
            )
        starts = [start for start, _ in self.resolutions]
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(
                "a recipe needs at least one epoch and one image a batch. Received: "
                f"epochs={self.epochs}, batch_size={self.batch_size}"
            )
        if starts and (starts[0] != 0 or starts != sorted(set(starts))):
            raise ConfigError(
                f"resolutions start at epoch 0 and rise. Received: {self.resolutions}"
            )

    def phases(self, image_size: int, resizable: bool = True) -> list[Phase]:
        """The run in parts, each with one image size and one config.

        Args:
            image_size: the network's own.
            resizable: whether its weights serve other sizes; if not, all epochs are at its own.
        """
        given = self.resolutions if resizable else ()
        steps = [step for step in given if step[0] < self.epochs] or [(0, image_size)]
        sizes = dict(steps)
        final = max(0, self.epochs - self.final_epochs)
        starts = sorted({*sizes, *({final} & {*range(self.epochs)})})
        phases = []
        for first, end in zip(starts, [*starts[1:], self.epochs], strict=True):
            size = sizes[max(start for start in sizes if start <= first)]
            late = self.final_config if first >= final else {}
            phases.append(Phase(first, end, size, {**self.config, **late}))
        return phases

    def shortened(self, epochs: int) -> Recipe:
        """The same with fewer epochs: the warm-up and every change of phase in proportion."""
        share = epochs / self.epochs
        later = {start * epochs // self.epochs: size for start, size in self.resolutions}
        return replace(
            self,
            epochs=epochs,
            warmup_epochs=self.warmup_epochs * min(1.0, share),
            final_epochs=math.ceil(self.final_epochs * share),
            resolutions=tuple(later.items()),
        )


def _taught(name: str, **fields: Any) -> Recipe:
    """A recipe for learning from a teacher's answers: nothing that blurs them."""
    usual: dict[str, Any] = {
        "label_smoothing": 0.0,
        "config": {"dropout": 0.0, "drop_path": 0.0},
        "jpeg_probability": 0.2,
        "teacher_share": 0.6,
        "temperature": 2.0,
    }
    return Recipe(name, **{**usual, **fields})


# On from a brief run's weights (`--init`), two hours of one core for FocalNet with its tens of
# millions of weights: small images up to the last third.
_WIDE = _taught(
    name="cpu-taught-wide",
    epochs=15,
    learning_rate=8e-4,
    warmup_epochs=0.5,
    ema_momentum=0.995,
    resolutions=((0, 32), (10, 48)),
    teacher_share=0.8,
    views=12,
)

# On from weights that overfit (`--init`), less than two hours of both cores for PatchConvNet: more
# images to learn from, and mixtures of them.
_MIXED = _taught(
    name="cpu-taught-mixed",
    epochs=36,
    warmup_epochs=0.5,
    ema_momentum=0.996,
    resolutions=((0, 32), (22, 48)),
    cutmix_probability=0.6,
    mixing_until=0.8,
    teacher_share=0.8,
    views=9,
    held_out=0.05,
)

# On from that for PatchConvNet, an hour of one core: distorted images too, at the network's own
# size throughout.
_VARIED = replace(
    _MIXED,
    name="cpu-taught-varied",
    epochs=20,
    learning_rate=8e-4,
    resolutions=(),
    trivial_augment=0.5,
    cutmix_probability=0.5,
    mixing_until=0.85,
    views=6,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # For two CPU cores and two hours: native 32x32 first, the network's own 48x48 at the end.
        Recipe(
            name="cpu-progressive",
            epochs=22,
            resolutions=((0, 32), (15, 48)),
            cutmix_probability=0.4,
            mixing_until=0.75,
        ),
        # On from weights that underfit (`--init`): no mixing, the network's own size throughout.
        Recipe(
            name="cpu-continue",
            epochs=15,
            learning_rate=8e-4,
            warmup_epochs=0.5,
            config={"dropout": 0.0, "drop_path": 0.05},
        ),
        # On from weights that overfit (`--init`): mixed images, small ones first. An hour and a
        # half of one CPU core for ShiftViT.
        Recipe(
            name="cpu-mixed",
            epochs=10,
            learning_rate=8e-4,
            warmup_epochs=0.5,
            resolutions=((0, 32), (6, 48)),
            cutmix_probability=0.6,
            mixing_until=0.7,
        ),
        # For a processor with bfloat16 products (`--precision bfloat16`), an hour of one core for
        # ShiftViT: as long as it underfits, with mixed images, at native 32x32 up to the end.
        Recipe(
            name="cpu-hour",
            epochs=40,
            warmup_epochs=1,
            resolutions=((0, 32), (33, 48)),
            cutmix_probability=0.5,
            mixing_until=0.85,
        ),
        # On from that (`--init`), half an hour more: the network's own size throughout, at a rate
        # that lets it use the size, mixed images in the first half.
        Recipe(
            name="cpu-finish",
            epochs=13,
            learning_rate=6e-4,
            warmup_epochs=0.5,
            ema_momentum=0.995,
            cutmix_probability=0.5,
            mixing_until=0.55,
        ),
        # For a network of convolutions, four hours of one CPU core, from a short run's weights or
        # none: small images nearly to the end.
        Recipe(
            name="cpu-long",
            epochs=20,
            config={"dropout": 0.0, "drop_path": 0.05},
            resolutions=((0, 32), (16, 48)),
            cutmix_probability=0.3,
            mixing_until=0.7,
        ),
        # The same from a teacher (`--teacher`): six views that it answers once, half the epochs.
        _taught(
            name="cpu-taught",
            epochs=12,
            warmup_epochs=0.5,
            resolutions=((0, 32), (9, 48)),
            views=6,
        ),
        # The same for a large network of which a core trains fewer than a hundred images a second:
        # small batches, since steps are what such a run lacks.
        _taught(
            name="cpu-taught-brief",
            epochs=7,
            batch_size=64,
            learning_rate=6e-4,
            warmup_epochs=0.4,
            ema_momentum=0.99,
            resolutions=((0, 32), (5, 48)),
            views=7,
        ),
        # The same with bfloat16 products, an hour and a half of one core for PatchConvNet: more
        # views, and the network's own size for as long as it takes to use it.
        _taught(
            name="cpu-taught-long",
            epochs=38,
            warmup_epochs=1,
            ema_momentum=0.996,
            resolutions=((0, 32), (24, 48)),
            teacher_share=0.8,
            views=12,
        ),
        # On from a brief run's weights (`--init`), two hours of one core for GCViT of 64 px: the
        # network's own size throughout.
        _taught(
            name="cpu-taught-more",
            epochs=14,
            warmup_epochs=0.5,
            ema_momentum=0.995,
            teacher_share=0.8,
            views=10,
        ),
        _WIDE,
        # On from that, two hours of both cores: as many epochs again at the network's own size.
        replace(_WIDE, name="cpu-taught-wider", epochs=20),
        _MIXED,
        # The same for FocalNet in an hour and a half: an epoch takes it seven to fifteen minutes.
        replace(
            _MIXED,
            name="cpu-taught-mixed-wide",
            epochs=8,
            learning_rate=8e-4,
            ema_momentum=0.995,
            resolutions=((0, 32), (4, 48)),
            mixing_until=0.7,
            views=4,
        ),
        _VARIED,
        # On from that, three quarters of an hour of both cores: the same views in other batches, so
        # in other mixtures.
        replace(
            _VARIED,
            name="cpu-taught-varied-more",
            epochs=22,
            batch_size=96,
            learning_rate=7e-4,
        ),
        # For fresh weights of a wide ResNet, an hour of one core with bfloat16 products: it is to
        # become a teacher, so it learns as much from the labels as from its own teachers.
        _taught(
            name="cpu-taught-fresh",
            epochs=20,
            learning_rate=2e-3,
            warmup_epochs=1,
            trivial_augment=0.5,
            cutmix_probability=0.3,
            mixing_until=0.8,
            teacher_share=0.5,
            views=6,
            held_out=0.05,
        ),
        # For a ViT, from a teacher, an hour and a half of one CPU core: a quarter of each image's
        # patches up to the last epoch, which costs less than a third.
        _taught(
            name="cpu-patches",
            epochs=16,
            warmup_epochs=1,
            config={
                "dropout": 0.0,
                "attention_dropout": 0.0,
                "head_dropout": 0.2,
                "patch_dropout": 0.75,
            },
            final_epochs=1,
            final_config={"patch_dropout": 0.0},
            views=6,
        ),
        # On from that (`--init`), two hours of one core with bfloat16 products: half of the
        # patches, then whole images for as long as it takes to use them.
        _taught(
            name="cpu-patches-more",
            epochs=30,
            warmup_epochs=0.5,
            ema_momentum=0.996,
            config={
                "dropout": 0.0,
                "attention_dropout": 0.0,
                "head_dropout": 0.1,
                "patch_dropout": 0.5,
            },
            final_epochs=8,
            final_config={"patch_dropout": 0.0},
            teacher_share=0.8,
            views=12,
        ),
        Recipe(name="plain", epochs=14, jpeg_probability=0.0, label_smoothing=0.0),
        # To see a network learn: one CPU core, an hour or less, often with --limit. No average of
        # the weights, which would lag behind in so few steps.
        Recipe(
            name="quick",
            epochs=6,
            batch_size=64,
            ema_momentum=0.0,
            jpeg_probability=0.0,
            config={"dropout": 0.0, "drop_path": 0.05},
            resolutions=((0, 32), (5, 48)),
        ),
        # A few epochs on somebody's own pictures, from weights trained on others (`--init`).
        Recipe(
            name="finetune",
            epochs=5,
            batch_size=32,
            learning_rate=1e-4,
            warmup_epochs=0.5,
            ema_momentum=0.0,
            jpeg_probability=0.0,
        ),
        # Half a million parameters or fewer, from a teacher (`--teacher`), without dropout and with
        # hardly any decay. Two hours of one CPU core, a fifth of them the teacher's.
        _taught(
            name="nano",
            epochs=36,
            learning_rate=3e-3,
            warmup_epochs=1,
            weight_decay=0.01,
            views=6,
        ),
        # The same as long as it pays; on a CPU it is a night.
        _taught(
            name="nano-long",
            epochs=300,
            batch_size=256,
            learning_rate=4e-3,
            warmup_epochs=5,
            weight_decay=0.01,
            ema_momentum=0.9995,
            teacher_share=0.7,
            views=16,
        ),
        # For a GPU: long enough for strong regularisation to pay.
        Recipe(
            name="gpu-long",
            epochs=200,
            batch_size=512,
            learning_rate=2e-3,
            warmup_epochs=10,
            ema_momentum=0.9995,
            config={"dropout": 0.0, "drop_path": 0.2},
            cutmix_probability=0.7,
            mixing_until=0.9,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
    """
    return find_named("recipe", name, RECIPES)
