"""ShiftViT: a vision transformer whose attention is replaced by a shift of channels.

Source: Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
Alternative to Attention Mechanism" (arXiv:2201.10801); default sizes from the Keras example "A
Vision Transformer without Attention".

Deviations of the published Keras code from the paper (``form="tutorial"`` reproduces them):
the shift crops and pads at the same offset, so nothing moves; its groups hold ``num_div`` channels
at every width instead of ``channels // num_div``.

``nano`` is ours, for 32x32 pixels on a small processor. There LayerNorms and GELUs are a large part
of the time, so it has what a converter folds away: BatchNormalization behind each product
(Ioffe & Szegedy 2015, arXiv:1502.03167) and ReLU; and 3x3 convolutions with stride 2
as a stem (Xiao et al. 2021, "Early Convolutions Help Transformers See Better", arXiv:2106.14881).
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import Preprocess
from edgevit.layers.activations import gelu_exact
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.drop_path import DropPath
from edgevit.layers.shift import BorderErase, PartialShift
from edgevit.models.config import ModelConfig, choice, positive, rate, size

SHIFTS: dict[str, type[layers.Layer]] = {"paper": PartialShift, "tutorial": BorderErase}
NORMS = ("layer", "batch")
PUBLISHED = ("layer", "gelu", "patch")
STEMS = ("patch", "convolutions")


ACTIVATIONS = {"gelu": gelu_exact, "relu": ops.relu}


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one ShiftViT; see also :class:`ModelConfig`.

    Attributes:
        form: "paper" (a real shift) or "tutorial" (what the published Keras code computes).
        patch_size: side of a patch, in pixels.
        dim: channels of the first stage; each stage doubles them.
        depths: shift blocks in each stage.
        num_div: divisions of the channel axis in the shift.
        shift_pixels: distance of the shift, in pixels.
        mlp_ratio: hidden width of the MLP, as a multiple of the channels.
        dropout: rate after each Dense of the MLP, training only.
        drop_path: largest stochastic-depth rate, reached by the last block of each stage.
        epsilon: of LayerNormalization.
        norm: "layer" (LayerNormalization before each product, as published) or "batch"
            (BatchNormalization behind it, which inference folds into the product).
        activation: of the MLP: "gelu" (exact, as published) or "relu".
        stem: "patch" (one convolution as wide as its stride, as published) or "convolutions" (3x3
            with stride 2, as many as it takes to reach the patch size, which is a power of two).
    """

    form: str = choice("paper", SHIFTS)
    image_size: int = size(48)
    patch_size: int = size(4)
    dim: int = size(96)
    depths: tuple[int, ...] = size((2, 4, 8, 2))
    num_div: int = size(12)
    shift_pixels: int = size(1)
    mlp_ratio: float = positive(2.0)
    dropout: float = rate(0.2)
    drop_path: float = rate(0.2)
    epsilon: float = positive(1e-5)
    num_classes: int = size(10)
    norm: str = choice("layer", NORMS)
    activation: str = choice("gelu", ACTIVATIONS)
    stem: str = choice("patch", STEMS)

    def __post_init__(self):
        super().__post_init__()
        if self.form == "tutorial" and (self.norm, self.activation, self.stem) != PUBLISHED:
            raise ConfigError(
                "form='tutorial' is what the published Keras code computes, so it needs "
                "norm='layer', activation='gelu' and stem='patch'. Received: "
                f"norm={self.norm!r}, activation={self.activation!r}, stem={self.stem!r}"
            )
        groups = self.num_div if self.form == "paper" else 4 * self.num_div
        if self.num_div < 4 or self.dim < groups:
            raise ConfigError(
                f"four channel groups are shifted, so num_div must be at least 4 and dim at least "
                f"{groups}. Received: num_div={self.num_div}, dim={self.dim}"
            )
        if self.stem == "convolutions" and (
            self.patch_size < 2 or self.patch_size & (self.patch_size - 1)
        ):
            raise ConfigError(
                "convolutions with stride 2 reach a patch_size that is a power of two, 2 or more. "
                f"Received: patch_size={self.patch_size}"
            )
        if self.stem == "convolutions" and self.dim < self.patch_size**2 // 4:
            raise ConfigError(
                "each convolution of the stem has a quarter of the next one's channels, so dim "
                f"must be at least {self.patch_size**2 // 4}. Received: dim={self.dim}"
            )

    def preprocess(self) -> Preprocess:
        """The pixels that these weights expect: [0, 1] at the network's size.

        The tutorial evaluates on the centre crop of a slightly larger resize (52 to 48 pixels for
        32x32 images), which its checkpoints have learnt.
        """
        side = self.image_size
        if self.form == "tutorial":
            larger = side * 52 // 48
            return Preprocess(network_size=(side, side), resize=(larger, larger))
        return Preprocess(network_size=(side, side))


VARIANTS = {
    "cifar": {},
    "nano": {
        "image_size": 32,
        "patch_size": 2,
        "dim": 40,
        "depths": (2, 4, 2),
        "num_div": 8,
        "norm": "batch",
        "activation": "relu",
        "stem": "convolutions",
    },
    # Table 1 of the paper; 224x224 images, 1,000 classes.
    "tiny": {"image_size": 224, "dim": 96, "depths": (6, 8, 18, 6), "num_classes": 1000},
    "small": {"image_size": 224, "dim": 96, "depths": (10, 18, 36, 10), "num_classes": 1000},
    "base": {"image_size": 224, "dim": 128, "depths": (10, 18, 36, 10), "num_classes": 1000},
}
# For tests: as small as it gets with every kind of block.
TINY = {"image_size": 16, "dim": 48, "depths": (1, 1)}


class ShiftViTBlock(ConfiguredLayer):
    """Shift, then a residual MLP of the normalised result. B H W C -> B H W C."""

    def __init__(
        self,
        form,
        num_div,
        shift_pixels,
        mlp_ratio,
        dropout,
        drop_path,
        epsilon,
        norm,
        activation,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.shift = SHIFTS[form](num_div, shift_pixels, name="shift")
        self.drop_path = DropPath(drop_path, name="drop_path")

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = int(self.mlp_ratio * channels)
        wide = (*input_shape[:-1], hidden)
        activation = ACTIVATIONS[self.activation]
        self.drop = layers.Dropout(self.dropout, name="drop")
        self.shift.build(input_shape)
        if self.norm == "layer":
            self.steps = [
                layers.LayerNormalization(epsilon=self.epsilon, name="norm"),
                layers.Dense(hidden, activation=activation, name="expand"),
                self.drop,
                layers.Dense(channels, name="project"),
                self.drop,
            ]
            shapes = [input_shape, input_shape, wide, wide, input_shape]
        else:
            self.steps = [
                layers.Dense(hidden, use_bias=False, name="expand"),
                layers.BatchNormalization(epsilon=self.epsilon, name="norm1"),
                layers.Activation(activation, name="activation"),
                self.drop,
                layers.Dense(channels, use_bias=False, name="project"),
                # Zero at first: the block is the identity (Goyal et al. 2017, arXiv:1706.02677).
                layers.BatchNormalization(
                    epsilon=self.epsilon, gamma_initializer="zeros", name="norm2"
                ),
            ]
            shapes = [input_shape, wide, wide, wide, wide, input_shape]
        for step, shape in zip(self.steps, shapes, strict=True):
            if not step.built:
                step.build(shape)

    def call(self, x, training=False):
        x = self.shift(x)  # B H W C
        y = x
        for step in self.steps:
            y = step(y)  # B H W hidden, then B H W C
        return x + self.drop_path(y, training=training)


class PatchMerging(ConfiguredLayer):
    """Merges 2x2 tokens and doubles the channels, normalised. B H W C -> B H/2 W/2 2C."""

    def __init__(self, epsilon=1e-5, norm="layer", **kwargs):
        super().__init__(**kwargs)
        self.norm_first = norm == "layer"

    def build(self, input_shape):
        # The tutorial creates the reduction before the norm; its checkpoints are in that order.
        self.reduction = layers.Conv2D(
            2 * input_shape[-1], 2, strides=2, padding="same", use_bias=False, name="reduction"
        )
        self.reduction.build(input_shape)
        if self.norm_first:
            self.norm = layers.LayerNormalization(epsilon=self.epsilon, name="norm")
            self.norm.build(input_shape)
        else:
            self.norm = layers.BatchNormalization(epsilon=self.epsilon, name="norm")
            self.norm.build(self.compute_output_shape(input_shape))

    def call(self, x):
        if self.norm_first:
            return self.reduction(self.norm(x))
        return self.norm(self.reduction(x))

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        return (batch, -(-rows // 2), -(-columns // 2), 2 * channels)


class StridedStem(ConfiguredLayer):
    """3x3 convolutions with stride 2, each normalised and all but the last activated.

    B H W 3 -> B H/p W/p dim.
    """

    def __init__(self, patch_size, dim, norm, activation, epsilon, **kwargs):
        super().__init__(**kwargs)
        norm_class = layers.LayerNormalization if norm == "layer" else layers.BatchNormalization
        count = patch_size.bit_length() - 1
        self.steps: list[layers.Layer] = []
        for number in range(1, count + 1):
            width = dim // 4 ** (count - number)
            self.steps.append(
                layers.Conv2D(
                    width, 3, strides=2, padding="same", use_bias=False, name=f"conv{number}"
                )
            )
            self.steps.append(norm_class(epsilon=epsilon, name=f"norm{number}"))
            if number < count:
                self.steps.append(
                    layers.Activation(ACTIVATIONS[activation], name=f"activation{number}")
                )

    def build(self, input_shape):
        for step in self.steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)

    def call(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def compute_output_shape(self, input_shape):
        for step in self.steps:
            input_shape = step.compute_output_shape(input_shape)
        return tuple(input_shape)


def forward(images, config: Config):
    """Builds the network on symbolic images B H W 3 in [0, 1]; returns {"logits": B classes}."""
    if config.stem == "patch":
        stem = layers.Conv2D(
            config.dim,
            config.patch_size,
            strides=config.patch_size,
            padding="same",
            name="patch_projection",
        )
    else:
        stem = config.layer(StridedStem, "stem")
    x = stem(images)  # B H/p W/p dim
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            rate = config.drop_path * block / (depth - 1) if depth > 1 else 0.0
            name = f"stage{stage + 1}_block{block + 1}"
            x = config.layer(ShiftViTBlock, name, drop_path=rate)(x)
        if stage < len(config.depths) - 1:
            x = config.layer(PatchMerging, f"stage{stage + 1}_merge")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # B C
    return {"logits": layers.Dense(config.num_classes, name="classifier")(x)}  # B classes
