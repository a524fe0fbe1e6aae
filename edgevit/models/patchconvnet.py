"""PatchConvNet: a convolutional network without a pyramid, pooled by a class token's attention.

Source: Touvron et al. 2021, "Augmenting Convolutional networks with attention-based aggregation"
(arXiv:2112.13692); default sizes from the Keras example "Augmenting convnets with aggregated
attention".

The Keras example reduces the network (``design="compact"``): two strided convolutions instead of
four, full 3x3 convolutions instead of depthwise ones, no LayerScale, and an attention block that
normalises after its sums. ``design="deep"`` is the network of the paper, in sizes S60 to B60.

Deviations of the published Keras code from its text and the paper (``form="tutorial"`` reproduces
them): the trunk's blocks are made of one list of layers, so all of them share their weights; GELU
is its tanh approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.layers.activations import gelu_exact, gelu_tanh
from edgevit.layers.attention import TokenAttention
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.drop_path import DropPath
from edgevit.layers.layer_scale import LayerScale
from edgevit.layers.patches import ClassToken
from edgevit.layers.squeeze_excite import SqueezeExcite
from edgevit.models.config import ModelConfig, choice, positive, rate, size

GELUS = {"paper": gelu_exact, "tutorial": gelu_tanh}
STEM_STRIDES = {"compact": (2, 2), "deep": (2, 2, 2, 2)}


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one PatchConvNet; see also :class:`ModelConfig`.

    Attributes:
        form: "paper" (independent blocks, exact GELU) or "tutorial" (what the published Keras
            code computes).
        design: "compact" (the Keras example's reduction) or "deep" (the paper's network).
        dim: channels of the trunk.
        depth: blocks of the trunk.
        stem_strides: of the stem's 3x3 convolutions, whose channels double up to ``dim``; empty:
            the design's own.
        se_ratio: squeeze and excitation reduces the channels this many times.
        mlp_ratio: hidden width of the MLP behind the attention, as a multiple of the channels.
        dropout: rate on the attention and in the MLP, training only.
        drop_path: stochastic-depth rate of every block of the trunk.
        layer_scale: initial factor of the residual branches; "deep" only.
        epsilon: of LayerNormalization.
    """

    form: str = choice("paper", GELUS)
    design: str = choice("compact", STEM_STRIDES)
    image_size: int = size(48)
    dim: int = size(256)
    depth: int = size(2)
    stem_strides: tuple[int, ...] = size((), empty=True)
    se_ratio: int = size(8)
    mlp_ratio: float = positive(1.0)
    dropout: float = rate(0.2)
    drop_path: float = rate(0.0)
    layer_scale: float = positive(1e-4)
    epsilon: float = positive(1e-6)
    num_classes: int = size(10)

    def __post_init__(self):
        super().__post_init__()
        if self.form == "tutorial" and self.design != "compact":
            raise ConfigError(
                "the tutorial's network is the compact one, so form='tutorial' needs "
                f"design='compact'. Received: form={self.form!r}, design={self.design!r}"
            )
        narrowest = max(2 ** (len(stem_strides_of(self)) - 1), self.se_ratio)
        if self.dim < narrowest or int(self.mlp_ratio * self.dim) < 1:
            raise ConfigError(
                f"the stem and squeeze and excitation divide the channels, so dim must be at least "
                f"{narrowest}, and mlp_ratio * dim at least 1. Received: dim={self.dim}, "
                f"se_ratio={self.se_ratio}, mlp_ratio={self.mlp_ratio}, design={self.design!r}"
            )


def stem_strides_of(config: Config) -> tuple[int, ...]:
    """Strides of the stem's convolutions, one each."""
    return config.stem_strides or STEM_STRIDES[config.design]


DEEP = {
    "design": "deep",
    "image_size": 224,
    "se_ratio": 4,
    "mlp_ratio": 3.0,
    "dropout": 0.0,
    "num_classes": 1000,
}
VARIANTS = {
    "cifar": {},
    # Ours: native 32x32 pixels on a small processor.
    "nano": {"image_size": 32, "dim": 96, "depth": 3, "stem_strides": (1, 2, 2)},
    # Table 1 of the paper: S is 384 channels wide, B 768; the number is the depth.
    "s60": {**DEEP, "dim": 384, "depth": 60},
    "s120": {**DEEP, "dim": 384, "depth": 120, "layer_scale": 1e-6},
    "b60": {**DEEP, "dim": 768, "depth": 60, "layer_scale": 1e-6},
}
# For tests: as small as it gets with every kind of block.
TINY = {"image_size": 16, "dim": 32, "depth": 2}


class ConvolutionalStem(ConfiguredLayer):
    """Strided 3x3 convolutions from the image to the patches. B H W 3 -> B h w dim."""

    def __init__(self, form, design, dim, strides, **kwargs):
        super().__init__(**kwargs)
        count, deep = len(strides), design == "deep"
        # The paper's have no biases, and its last one has no GELU after it.
        self.convolutions = [
            layers.Conv2D(
                dim // 2 ** (count - number),
                3,
                strides=stride,
                padding="same",
                use_bias=not deep,
                activation=None if deep and number == count else GELUS[form],
                name=f"conv{number}",
            )
            for number, stride in enumerate(strides, start=1)
        ]

    def build(self, input_shape):
        for convolution in self.convolutions:
            convolution.build(input_shape)
            input_shape = convolution.compute_output_shape(input_shape)

    def call(self, x):
        for convolution in self.convolutions:
            x = convolution(x)
        return x

    def compute_output_shape(self, input_shape):
        for convolution in self.convolutions:
            input_shape = convolution.compute_output_shape(input_shape)
        return tuple(input_shape)


class TrunkBlock(ConfiguredLayer):
    """A residual convolutional block with squeeze and excitation. B H W C -> B H W C."""

    def __init__(self, form, design, se_ratio, drop_path, layer_scale, epsilon, **kwargs):
        super().__init__(**kwargs)
        self.drop_path = DropPath(drop_path, name="drop_path")

    def build(self, input_shape):
        channels, deep = input_shape[-1], self.design == "deep"
        gelu, same = GELUS[self.form], {"padding": "same", "name": "spatial"}
        self.parts = [
            layers.LayerNormalization(epsilon=self.epsilon, name="norm"),
            layers.Conv2D(channels, 1, activation=gelu, name="expand"),
            layers.DepthwiseConv2D(3, activation=gelu, **same)
            if deep
            else layers.Conv2D(channels, 3, activation=gelu, **same),
            SqueezeExcite(self.se_ratio, use_bias=deep, name="excite"),
            layers.Conv2D(channels, 1, name="project"),
        ]
        if deep:
            self.parts.append(LayerScale(self.layer_scale, name="scale"))
        for part in self.parts:
            part.build(input_shape)

    def call(self, x, training=False):
        y = x
        for part in self.parts:
            y = part(y)  # B H W C
        return x + self.drop_path(y, training=training)


class AttentionPooling(ConfiguredLayer):
    """Pools an image by the attention of a learned class token.

    Input: B H W C. Output: B C, and the class token's attention over the positions, B H W. The
    latter's sum over an image is one less what the class token gives to itself.
    """

    def __init__(self, form, design, mlp_ratio, dropout, layer_scale, epsilon, **kwargs):
        super().__init__(**kwargs)
        self.token = ClassToken(name="token")

    def build(self, input_shape):
        batch, rows, columns, channels = input_shape
        gelu, deep = GELUS[self.form], self.design == "deep"
        hidden = int(self.mlp_ratio * channels)
        # The tutorial's checkpoints are in this order.
        self.attention = TokenAttention(1, channels, self.dropout, name="attention")
        self.norm1, self.norm2, self.norm3 = (
            layers.LayerNormalization(epsilon=self.epsilon, name=f"norm{number}")
            for number in (1, 2, 3)
        )
        self.expand = layers.Dense(hidden, activation=gelu, name="expand")
        self.drop = layers.Dropout(self.dropout, name="drop")
        self.project = layers.Dense(channels, activation=None if deep else gelu, name="project")
        numbers = (1, 2) if deep else ()
        self.scales = [LayerScale(self.layer_scale, name=f"scale{n}") for n in numbers]
        tokens = (batch, 1 + rows * columns, channels)
        self.token.build((batch, rows * columns, channels))
        self.norm1.build(tokens)
        self.attention.build((batch, 1, channels), tokens)
        for part in (self.norm2, self.norm3, self.expand, *self.scales):
            part.build((batch, channels))
        self.project.build((batch, hidden))

    def call(self, x, training=False):
        _, rows, columns, channels = x.shape
        x = ops.reshape(x, (-1, rows * columns, channels))  # B N C
        x = self.token(x)  # B 1+N C
        token = ops.reshape(x[:, :1], (-1, channels))  # B C
        x = self.norm1(x)
        y, attention = self.attention(x[:, :1], x, training=training)  # B 1 C, B 1 1 1+N
        y = ops.reshape(y, (-1, channels))  # B C
        if self.design == "deep":
            token = token + self.scales[0](y)
            token = token + self.scales[1](self._mlp(self.norm2(token), training))
            token = self.norm3(token)
        else:
            token = self.norm3(self.norm2(token + y))
            token = token + self._mlp(token, training)
        return token, ops.reshape(attention[:, :, :, 1:], (-1, rows, columns))  # B C, B H W

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        return (batch, channels), (batch, rows, columns)

    def _mlp(self, x, training):
        return self.project(self.drop(self.expand(x), training=training))  # B C


def forward(images, config: Config):
    """Builds the network on symbolic images B H W 3 in [0, 1].

    Returns:
        "logits": B classes. "attention": B rows columns, the class token's attention over the
        grid of patches (48x48 pixels: 12x12).
    """
    strides = stem_strides_of(config)
    x = config.layer(ConvolutionalStem, "stem", strides=strides)(images)  # B h w dim
    shared = None
    for number in range(1, config.depth + 1):
        if shared is None or config.form == "paper":
            shared = config.layer(TrunkBlock, f"block{number}")
        x = shared(x)  # B h w dim
    x, attention = config.layer(AttentionPooling, "pool")(x)  # B dim, B h w
    logits = layers.Dense(config.num_classes, name="classifier")(x)  # B classes
    return {"logits": logits, "attention": attention}
