"""ResNet: residual 3x3 convolutions, in the sizes for small images.

Source: He et al. 2015, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), section
4.2; shortcuts are projected where the shape changes (option B there).

``mlperf`` is the ResNet-8 of MLPerf Tiny (Banbury et al. 2021, arXiv:2106.07597), with which the
nano sizes of the other architectures compete. The reference has 78,666 parameters: with biases,
which BatchNormalization makes idle, and without norms in the shortcuts.

``wide`` is ours, a teacher: fewer and wider layers (Zagoruyko & Komodakis 2016, arXiv:1605.07146),
none of them at the image's own size but the stem, and each stage begins with one convolution as
wide as its stride (Liu et al. 2022, arXiv:2201.03545, section 2.2). A CPU with bfloat16 products
trains it at about the speed of PatchConvNet.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.drop_path import DropPath
from edgevit.layers.tiles import TileConv2D
from edgevit.models.config import ModelConfig, choice, positive, rate, size

FORMS = ("paper",)  # no tutorial is reproduced
DOWNSAMPLING = ("strided", "merged")


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one ResNet; see also :class:`ModelConfig`.

    Attributes:
        form: "paper".
        stem: channels of the first 3x3 convolution.
        widths: channels of each stage.
        depths: blocks of each stage, two convolutions each.
        strides: by which each stage makes the map smaller.
        downsampling: how it does so: "strided" (the first block's first 3x3 convolution has the
            stride, as published) or "merged" (a convolution as wide as the stride before the
            blocks).
        dropout: rate before the classifier, training only.
        drop_path: largest stochastic-depth rate, reached by the last block.
        epsilon: of BatchNormalization.
    """

    form: str = choice("paper", FORMS)
    image_size: int = size(32)
    stem: int = size(16)
    widths: tuple[int, ...] = size((16, 32, 64))
    depths: tuple[int, ...] = size((3, 3, 3))
    strides: tuple[int, ...] = size((1, 2, 2))
    downsampling: str = choice("strided", DOWNSAMPLING)
    dropout: float = rate(0.0)
    drop_path: float = rate(0.0)
    epsilon: float = positive(1e-5)
    num_classes: int = size(10)

    def __post_init__(self):
        super().__post_init__()
        if not len(self.widths) == len(self.depths) == len(self.strides):
            raise ConfigError(
                "a stage has a width, a depth and a stride, so there must be as many of each. "
                f"Received: widths={self.widths}, depths={self.depths}, strides={self.strides}"
            )


VARIANTS = {
    "cifar": {},  # ResNet-20
    "mlperf": {"depths": (1, 1, 1)},
    "wide": {
        "stem": 32,
        "widths": (128, 256),
        "depths": (2, 2),
        "strides": (2, 2),
        "downsampling": "merged",
    },
}
# For tests: as small as it gets with every kind of block.
TINY = {
    "image_size": 16,
    "stem": 16,
    "widths": (16, 32),
    "depths": (1, 1),
    "strides": (1, 2),
}


class NormedConv2D(ConfiguredLayer):
    """A convolution without bias, BatchNormalization, and ReLU if wanted. B H W C -> B h w filters.

    Args:
        filters: channels of the output.
        side: of the square kernel.
        stride: where it is the kernel's side, the windows are tiles
            (:class:`edgevit.layers.tiles.TileConv2D`).
        relu: whether ReLU follows.
        gamma: initial scale of the norm: "ones", or "zeros" for a residual branch that begins as
            nothing (Goyal et al. 2017, arXiv:1706.02677).
        epsilon: of the norm.
    """

    def __init__(self, filters, side=3, stride=1, relu=True, gamma="ones", epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        options = {"use_bias": False, "kernel_initializer": "he_normal", "name": "convolution"}
        self.convolution = (
            TileConv2D(filters, side, **options)
            if side == stride
            else layers.Conv2D(filters, side, strides=stride, padding="same", **options)
        )
        self.norm = layers.BatchNormalization(epsilon=epsilon, gamma_initializer=gamma, name="norm")

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, x, training=False):
        x = self.norm(self.convolution(x), training=training)  # B h w filters
        return ops.relu(x) if self.relu else x

    def compute_output_shape(self, input_shape):
        return tuple(self.convolution.compute_output_shape(input_shape))


class ResidualBlock(ConfiguredLayer):
    """Two 3x3 convolutions beside a shortcut. B H W C -> B H/s W/s filters."""

    def __init__(self, filters, stride=1, drop_path=0.0, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = NormedConv2D(filters, 3, stride, epsilon=epsilon, name="conv1")
        self.conv2 = NormedConv2D(
            filters, 3, relu=False, gamma="zeros", epsilon=epsilon, name="conv2"
        )
        self.drop_path = DropPath(drop_path, name="drop_path")
        self.shortcut = None

    def build(self, input_shape):
        self.conv1.build(input_shape)
        self.conv2.build(self.compute_output_shape(input_shape))
        if self.stride > 1 or input_shape[-1] != self.filters:
            self.shortcut = NormedConv2D(
                self.filters, 1, self.stride, relu=False, epsilon=self.epsilon, name="shortcut"
            )
            self.shortcut.build(input_shape)

    def call(self, x, training=False):
        y = self.conv2(self.conv1(x, training=training), training=training)  # B h w filters
        kept = x if self.shortcut is None else self.shortcut(x, training=training)
        return ops.relu(kept + self.drop_path(y, training=training))

    def compute_output_shape(self, input_shape):
        return self.conv1.compute_output_shape(input_shape)


def forward(images, config: Config):
    """Builds the network on symbolic images B H W 3 in [0, 1]; returns {"logits": B classes}."""
    x = NormedConv2D(config.stem, epsilon=config.epsilon, name="stem")(images)  # B H W stem
    last, number = max(sum(config.depths) - 1, 1), 0
    stages = zip(config.widths, config.depths, config.strides, strict=True)
    for stage, (width, depth, stride) in enumerate(stages, start=1):
        if config.downsampling == "merged" and stride > 1:
            merge = NormedConv2D(
                width, stride, stride, epsilon=config.epsilon, name=f"stage{stage}_merge"
            )
            x, stride = merge(x), 1  # B H/s W/s width
        for block in range(1, depth + 1):
            x = ResidualBlock(
                width,
                stride if block == 1 else 1,
                config.drop_path * number / last,
                config.epsilon,
                name=f"stage{stage}_block{block}",
            )(x)  # B h w width
            number += 1
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # B C
    x = layers.Dropout(config.dropout, name="drop")(x)
    return {"logits": layers.Dense(config.num_classes, name="classifier")(x)}  # B classes
