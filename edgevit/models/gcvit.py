"""GCViT: attention in windows, in turns with a query that the whole image shares.

Source: Hatamizadeh et al. 2022, "Global Context Vision Transformers" (arXiv:2206.09959); default
sizes from the Keras example "Image Classification using Global Context Vision Transformer"
(GCViT-XXTiny, 1,000 classes).

Deviation of the published Keras code from the paper (``form="tutorial"`` reproduces it): the
relative position bias is gathered without an axis, so all heads share one bias, made of the first
values of the table. The published ImageNet weights were trained with one bias for each head.

Both forms pad max pooling with zeros, as the Keras code does; the authors' PyTorch code pads it
with minus infinity, which differs where all pixels along the upper or left border are negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import SCALINGS, Preprocess
from edgevit.layers.activations import gelu_exact
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.downsample import Downsample, pad_for_stride
from edgevit.layers.drop_path import DropPath
from edgevit.layers.global_query import GlobalQueryGenerator
from edgevit.layers.layer_scale import LayerScale
from edgevit.layers.window_attention import WindowAttention
from edgevit.layers.windows import window_reverse
from edgevit.models.config import FORMS, ModelConfig, choice, positive, rate, size


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one GCViT; see also :class:`ModelConfig`.

    Attributes:
        form: "paper" (a position bias for each head) or "tutorial" (what the published Keras code
            computes).
        dim: channels of the first level; each level doubles them.
        depths: blocks in each level; the first is local, the second global, and so on.
        num_heads: heads in each level; they share its channels.
        window_sizes: side of a window in each level, in tokens.
        mlp_ratio: hidden width of the MLP, as a multiple of the channels.
        dropout: rate after the stem, after attention and in the MLP, training only.
        attention_dropout: rate on the attention weights, training only.
        drop_path: largest stochastic-depth rate, reached by the last block of the network.
        layer_scale: initial factor of the residual branches; None: no factors.
        epsilon: of LayerNormalization.
    """

    form: str = choice("paper", FORMS)
    image_size: int = size(224)
    dim: int = size(64)
    depths: tuple[int, ...] = size((2, 2, 6, 2))
    num_heads: tuple[int, ...] = size((2, 4, 8, 16))
    window_sizes: tuple[int, ...] = size((7, 7, 14, 7))
    mlp_ratio: float = positive(3.0)
    dropout: float = rate(0.0)
    attention_dropout: float = rate(0.0)
    drop_path: float = rate(0.2)
    layer_scale: float | None = positive(None)
    epsilon: float = positive(1e-5)
    num_classes: int = size(1000)

    def __post_init__(self):
        super().__post_init__()
        counts = {name: getattr(self, name) for name in ("depths", "num_heads", "window_sizes")}
        if len({len(value) for value in counts.values()}) != 1:
            listed = ", ".join(f"{name}={value!r}" for name, value in counts.items())
            raise ConfigError(
                f"depths, num_heads and window_sizes need one entry a level. Received: {listed}"
            )
        if self.dim < 4 or int(self.mlp_ratio * self.dim) < 1:
            raise ConfigError(
                "squeeze and excitation keeps a quarter of the channels, so dim must be at least "
                "4, and mlp_ratio * dim at least 1. "
                f"Received: dim={self.dim}, mlp_ratio={self.mlp_ratio}"
            )
        for level, (side, window) in enumerate(zip(self.sides, self.window_sizes, strict=True)):
            width, heads = self.dim * 2**level, self.num_heads[level]
            if width % heads:
                raise ConfigError(
                    f"the heads share the channels, so num_heads of level {level + 1} must divide "
                    f"{width}. Received: num_heads={self.num_heads}, dim={self.dim}"
                )
            # The global query is the map, halved until it is one window.
            if side not in {window * 2**halvings for halvings in range(side)}:
                raise ConfigError(
                    f"the map of level {level + 1} has {side}x{side} tokens, which must be its "
                    "window's side times a power of two. Received: "
                    f"image_size={self.image_size}, window_sizes={self.window_sizes}"
                )

    def preprocess(self) -> Preprocess:
        """The pixels that these weights expect: normalised with ImageNet's mean and deviation."""
        side = self.image_size
        scaling = SCALINGS["imagenet"]
        return Preprocess(network_size=(side, side), scale=scaling.scale, offset=scaling.offset)

    @property
    def sides(self) -> tuple[int, ...]:
        """Side of the feature map of each level, in tokens."""
        sides = [-(-self.image_size // 4)]
        for _ in self.depths[1:]:
            sides.append(-(-sides[-1] // 2))
        return tuple(sides)

    @property
    def halvings(self) -> tuple[int, ...]:
        """How often the feature map of each level is halved until it is one window."""
        sizes = zip(self.sides, self.window_sizes, strict=True)
        return tuple((side // window).bit_length() - 1 for side, window in sizes)


_SMALL_TO_LARGE = {"depths": (3, 4, 19, 5), "mlp_ratio": 2.0, "layer_scale": 1e-5}
VARIANTS = {
    "cifar": {"num_classes": 10},  # GCViT-XXTiny
    # The same for small pictures, which 224x224 would only blur: as many windows a level, of a
    # third the side. A twelfth of the work.
    "cifar64": {"image_size": 64, "window_sizes": (2, 2, 4, 2), "num_classes": 10},
    # The sizes of the authors' code; 224x224 images, 1,000 classes.
    "xxtiny": {},
    "xtiny": {"depths": (3, 4, 6, 5)},
    "tiny": {"depths": (3, 4, 19, 5)},
    "small": {**_SMALL_TO_LARGE, "dim": 96, "num_heads": (3, 6, 12, 24), "drop_path": 0.3},
    "base": {**_SMALL_TO_LARGE, "dim": 128, "num_heads": (4, 8, 16, 32), "drop_path": 0.5},
    "large": {**_SMALL_TO_LARGE, "dim": 192, "num_heads": (6, 12, 24, 48), "drop_path": 0.5},
}
# For tests: as small as it gets with every kind of block.
TINY = {
    "image_size": 32,
    "dim": 16,
    "depths": (2, 1),
    "num_heads": (1, 2),
    "window_sizes": (2, 4),
    "num_classes": 10,
}


class Stem(ConfiguredLayer):
    """From the image to overlapping patches of four pixels. B H W 3 -> B H/4 W/4 C."""

    def __init__(self, dim, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.project = layers.Conv2D(self.dim, 3, strides=2, name="project")
        self.down = Downsample(double=False, epsilon=self.epsilon, name="down")
        self.project.build(input_shape)
        self.down.build(self._projected(input_shape))

    def call(self, images):
        return self.down(self.project(pad_for_stride(images)))

    def compute_output_shape(self, input_shape):
        return self.down.compute_output_shape(self._projected(input_shape))

    def _projected(self, input_shape):
        batch, rows, columns, _ = input_shape
        return (batch, -(-rows // 2), -(-columns // 2), self.dim)


class GCViTBlock(ConfiguredLayer):
    """Window attention and an MLP, each residual.

    Inputs: B H W C; with a global query also that query, B w w C. Outputs: B H W C, and the
    attention weights as :class:`WindowAttention` returns them, M K N N.
    """

    drop_path: Any  # its rate until the block is built, then the layer

    def __init__(
        self,
        window,
        num_heads,
        global_query=False,
        form="paper",
        mlp_ratio=3.0,
        dropout=0.0,
        attention_dropout=0.0,
        drop_path=0.0,
        layer_scale=None,
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)

    def build(self, x_shape, query_shape=None):
        channels = x_shape[-1]
        hidden = int(self.mlp_ratio * channels)
        numbers = () if self.layer_scale is None else (1, 2)
        self.scales = [LayerScale(self.layer_scale, name=f"scale{n}") for n in numbers]
        self.norm1 = layers.LayerNormalization(epsilon=self.epsilon, name="norm1")
        self.attention = WindowAttention(
            self.window,
            self.num_heads,
            global_query=self.global_query,
            shared_bias=self.form == "tutorial",
            dropout=self.attention_dropout,
            name="attention",
        )
        self.norm2 = layers.LayerNormalization(epsilon=self.epsilon, name="norm2")
        self.expand = layers.Dense(hidden, activation=gelu_exact, name="expand")
        self.project = layers.Dense(channels, name="project")
        self.drop = layers.Dropout(self.dropout, name="drop")
        self.drop_path = DropPath(self.drop_path, name="drop_path")
        for layer in (*self.scales, self.norm1, self.attention, self.norm2, self.expand):
            layer.build(x_shape)
        self.project.build((*x_shape[:-1], hidden))

    def call(self, x, query=None, training=False):
        y, weights = self.attention(self.norm1(x), query, training=training)  # B H W C, M K N N
        x = x + self._branch(y, 0, training)  # B H W C
        y = self.drop(self.expand(self.norm2(x)), training=training)  # B H W hidden
        return x + self._branch(self.project(y), 1, training), weights  # B H W C, M K N N

    def compute_output_shape(self, x_shape, query_shape=None):
        return self.attention.compute_output_shape(x_shape, query_shape)

    def _branch(self, y, number, training):
        y = self.drop(y, training=training)  # B H W C
        if self.scales:
            y = self.scales[number](y)
        return self.drop_path(y, training=training)


class GCViTLevel(ConfiguredLayer):
    """Blocks at one resolution, local and global in turns, then the way down to the next.

    Input: B H W C. Output: B H/2 W/2 2C. The last level stays at its resolution and returns two:
    B H W C, and B H W, the attention that each token receives in the last block, as the mean over
    heads and queries. Over each window it sums to one.

    Args:
        depth: blocks.
        window: side of a window, in tokens.
        halvings: how often the map is halved until it is one window.
        last: whether this is the network's last level.
        drop_path: stochastic-depth rate of each block.
        block: the other arguments of :class:`GCViTBlock`.
    """

    def __init__(self, depth, window, halvings, last, drop_path, block, **kwargs):
        super().__init__(**kwargs)

    def build(self, input_shape):
        # The tutorial creates the query generator last; its checkpoints are in that order.
        self.blocks = [
            GCViTBlock(
                self.window,
                global_query=number % 2 == 1,
                drop_path=self.drop_path[number],
                name=f"block{number + 1}",
                **self.block,
            )
            for number in range(self.depth)
        ]
        if not self.last:
            self.down = Downsample(epsilon=self.block["epsilon"], name="down")
            self.down.build(input_shape)
        self.query = GlobalQueryGenerator(self.halvings, name="query")
        self.query.build(input_shape)
        for block in self.blocks:
            block.build(input_shape)

    def call(self, x, training=False):
        query, weights = self.query(x), None  # B w w C
        for block in self.blocks:
            given = query if block.global_query else None
            x, weights = block(x, given, training=training)  # B H W C, M K N N
        if not self.last:
            return self.down(x)  # B H/2 W/2 2C
        _, rows, columns, _ = x.shape
        received = ops.mean(weights, axis=(1, 2))  # M N
        received = ops.reshape(received, (-1, received.shape[1], 1))  # M N 1
        received = window_reverse(received, self.window, rows, columns)  # B H W 1
        return x, ops.reshape(received, (-1, rows, columns))  # B H W C, B H W

    def compute_output_shape(self, input_shape):
        if self.last:
            return tuple(input_shape), tuple(input_shape[:-1])
        return self.down.compute_output_shape(input_shape)


def _level(config: Config, number: int) -> GCViTLevel:
    first, depth = sum(config.depths[:number]), config.depths[number]
    steps = max(1, sum(config.depths) - 1)  # the rate rises over the blocks of the whole network
    return GCViTLevel(
        depth,
        config.window_sizes[number],
        config.halvings[number],
        last=number + 1 == len(config.depths),
        drop_path=[config.drop_path * block / steps for block in range(first, first + depth)],
        block={
            "num_heads": config.num_heads[number],
            "form": config.form,
            "mlp_ratio": config.mlp_ratio,
            "dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
            "layer_scale": config.layer_scale,
            "epsilon": config.epsilon,
        },
        name=f"level{number + 1}",
    )


def forward(images, config: Config):
    """Builds the network on symbolic images B H W 3, normalised with ImageNet's mean and deviation.

    Returns:
        "logits": B classes. "attention": B rows columns, the attention that each token of the last
        map receives in the last block, as the mean over heads and queries (224x224 pixels: 7x7,
        which sum to one). The last block's query is global where the last depth is even.
    """
    x = Stem(config.dim, config.epsilon, name="stem")(images)  # B H/4 W/4 dim
    x = layers.Dropout(config.dropout, name="drop")(x)
    *upper, last = [_level(config, number) for number in range(len(config.depths))]
    for level in upper:
        x = level(x)  # B H/2 W/2 2C
    x, attention = last(x)  # B H W C, B H W
    x = layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)  # B H W C
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # B C
    logits = layers.Dense(config.num_classes, name="classifier")(x)  # B classes
    return {"logits": logits, "attention": attention}
