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

from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import SCALINGS, Preprocess
from edgevit.layers.activations import gelu_exact
from edgevit.layers.drop_path import DropPath
from edgevit.layers.fused_mbconv import FusedMBConv
from edgevit.layers.layer_scale import LayerScale
from edgevit.layers.squeeze_excite import SqueezeExcite
from edgevit.layers.window_attention import WindowAttention
from edgevit.layers.windows import window_reverse
from edgevit.models.checks import check_choice, check_positive, check_rates, check_sizes

FORMS = ("paper", "tutorial")


@dataclass(frozen=True)
class GCViTConfig:
    """Sizes of one GCViT.

    Attributes:
        form: "paper" (a position bias for each head) or "tutorial" (what the published Keras code
            computes).
        image_size: side of the square image that enters the network, in pixels.
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
        num_classes: length of the logits.
    """

    form: str = "paper"
    image_size: int = 224
    dim: int = 64
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    window_sizes: tuple[int, ...] = (7, 7, 14, 7)
    mlp_ratio: float = 3.0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.2
    layer_scale: float | None = None
    epsilon: float = 1e-5
    num_classes: int = 1000

    def __post_init__(self):
        lists = ("depths", "num_heads", "window_sizes")
        for name in lists:
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        check_choice("form", self.form, FORMS)
        check_sizes(
            image_size=self.image_size,
            dim=self.dim,
            num_classes=self.num_classes,
            **{name: getattr(self, name) for name in lists},
        )
        check_rates(
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            drop_path=self.drop_path,
        )
        check_positive(mlp_ratio=self.mlp_ratio, epsilon=self.epsilon)
        if self.layer_scale is not None:
            check_positive(layer_scale=self.layer_scale)
        counts = {name: getattr(self, name) for name in lists}
        if not all(isinstance(value, tuple) for value in counts.values()) or (
            len({len(value) for value in counts.values()}) != 1
        ):
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


class Downsample(layers.Layer):
    """Halves a feature map's sides, rounding up. B H W C -> B H/2 W/2 C'.

    Args:
        double: whether the channels are doubled.
        epsilon: of LayerNormalization.
    """

    def __init__(self, double=True, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.double = double
        self.epsilon = epsilon

    def build(self, input_shape):
        width = input_shape[-1] * (2 if self.double else 1)
        # The tutorial creates the norms last; its checkpoints are in that order.
        self.mbconv = FusedMBConv(name="mbconv")
        self.reduction = layers.Conv2D(width, 3, strides=2, use_bias=False, name="reduction")
        self.norm1 = layers.LayerNormalization(epsilon=self.epsilon, name="norm1")
        self.norm2 = layers.LayerNormalization(epsilon=self.epsilon, name="norm2")
        for layer in (self.mbconv, self.reduction, self.norm1):
            layer.build(input_shape)
        self.norm2.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, x):
        x = self.mbconv(self.norm1(x))  # B H W C
        return self.norm2(self.reduction(pad_for_stride(x)))  # B H/2 W/2 C'

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        return (batch, -(-rows // 2), -(-columns // 2), channels * (2 if self.double else 1))

    def get_config(self):
        return {**super().get_config(), "double": self.double, "epsilon": self.epsilon}


class Stem(layers.Layer):
    """From the image to overlapping patches of four pixels. B H W 3 -> B H/4 W/4 C."""

    def __init__(self, dim, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.epsilon = epsilon

    def build(self, input_shape):
        self.project = layers.Conv2D(self.dim, 3, strides=2, name="project")
        self.down = Downsample(double=False, epsilon=self.epsilon, name="down")
        self.project.build(input_shape)
        self.down.build(self._projected(input_shape))
        self.built = True

    def call(self, images):
        return self.down(self.project(pad_for_stride(images)))

    def compute_output_shape(self, input_shape):
        return self.down.compute_output_shape(self._projected(input_shape))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "epsilon": self.epsilon}

    def _projected(self, input_shape):
        batch, rows, columns, _ = input_shape
        return (batch, -(-rows // 2), -(-columns // 2), self.dim)


class GlobalQueryGenerator(layers.Layer):
    """Shrinks a feature map to one window. B H W C -> B w w C.

    Args:
        halvings: how often the sides are halved; with 0 the map is one window already, and only
            its features are extracted.
    """

    def __init__(self, halvings, **kwargs):
        super().__init__(**kwargs)
        self.halvings = halvings

    def build(self, input_shape):
        count = max(1, self.halvings)
        self.stages = [FusedMBConv(name=f"stage{stage + 1}") for stage in range(count)]
        self.pool = layers.MaxPooling2D(3, strides=2, name="pool")
        for stage in self.stages:
            stage.build(input_shape)
        self.built = True

    def call(self, x):
        for stage in self.stages:
            x = stage(x)  # B H W C
            if self.halvings:
                x = self.pool(pad_for_stride(x))  # B H/2 W/2 C
        return x

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        return (batch, rows >> self.halvings, columns >> self.halvings, channels)

    def get_config(self):
        return {**super().get_config(), "halvings": self.halvings}


class GCViTBlock(layers.Layer):
    """Window attention and an MLP, each residual.

    Inputs: B H W C; with a global query also that query, B w w C. Outputs: B H W C, and the
    attention weights as :class:`WindowAttention` returns them, M K N N.
    """

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
        self.config = {
            "window": window,
            "num_heads": num_heads,
            "global_query": global_query,
            "form": form,
            "mlp_ratio": mlp_ratio,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "drop_path": drop_path,
            "layer_scale": layer_scale,
            "epsilon": epsilon,
        }

    def build(self, x_shape, query_shape=None):
        channels, config = x_shape[-1], self.config
        hidden = int(config["mlp_ratio"] * channels)
        self.scales = []
        if config["layer_scale"] is not None:
            self.scales = [LayerScale(config["layer_scale"], name=f"scale{n}") for n in (1, 2)]
        self.norm1 = layers.LayerNormalization(epsilon=config["epsilon"], name="norm1")
        self.attention = WindowAttention(
            config["window"],
            config["num_heads"],
            global_query=config["global_query"],
            shared_bias=config["form"] == "tutorial",
            dropout=config["attention_dropout"],
            name="attention",
        )
        self.norm2 = layers.LayerNormalization(epsilon=config["epsilon"], name="norm2")
        self.expand = layers.Dense(hidden, activation=gelu_exact, name="expand")
        self.project = layers.Dense(channels, name="project")
        self.drop = layers.Dropout(config["dropout"], name="drop")
        self.drop_path = DropPath(config["drop_path"], name="drop_path")
        for layer in (*self.scales, self.norm1, self.attention, self.norm2, self.expand):
            layer.build(x_shape)
        self.project.build((*x_shape[:-1], hidden))
        self.built = True

    def call(self, x, query=None, training=False):
        y, weights = self.attention(self.norm1(x), query, training=training)  # B H W C, M K N N
        x = x + self._branch(y, 0, training)  # B H W C
        y = self.drop(self.expand(self.norm2(x)), training=training)  # B H W hidden
        return x + self._branch(self.project(y), 1, training), weights  # B H W C, M K N N

    def compute_output_shape(self, x_shape, query_shape=None):
        return self.attention.compute_output_shape(x_shape, query_shape)

    def get_config(self):
        return {**super().get_config(), **self.config}

    def _branch(self, y, number, training):
        y = self.drop(y, training=training)  # B H W C
        if self.scales:
            y = self.scales[number](y)
        return self.drop_path(y, training=training)


class GCViTLevel(layers.Layer):
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
        self.config = {
            "depth": depth,
            "window": window,
            "halvings": halvings,
            "last": last,
            "drop_path": list(drop_path),
            "block": dict(block),
        }

    def build(self, input_shape):
        config = self.config
        # The tutorial creates the query generator last; its checkpoints are in that order.
        self.blocks = [
            GCViTBlock(
                config["window"],
                global_query=number % 2 == 1,
                drop_path=config["drop_path"][number],
                name=f"block{number + 1}",
                **config["block"],
            )
            for number in range(config["depth"])
        ]
        if not config["last"]:
            self.down = Downsample(epsilon=config["block"]["epsilon"], name="down")
            self.down.build(input_shape)
        self.query = GlobalQueryGenerator(config["halvings"], name="query")
        self.query.build(input_shape)
        for block in self.blocks:
            block.build(input_shape)
        self.built = True

    def call(self, x, training=False):
        query, weights = self.query(x), None  # B w w C
        for block in self.blocks:
            given = query if block.config["global_query"] else None
            x, weights = block(x, given, training=training)  # B H W C, M K N N
        if not self.config["last"]:
            return self.down(x)  # B H/2 W/2 2C
        _, rows, columns, _ = x.shape
        received = ops.mean(weights, axis=(1, 2))  # M N
        received = ops.reshape(received, (-1, received.shape[1], 1))  # M N 1
        received = window_reverse(received, self.config["window"], rows, columns)  # B H W 1
        return x, ops.reshape(received, (-1, rows, columns))  # B H W C, B H W

    def compute_output_shape(self, input_shape):
        if self.config["last"]:
            return tuple(input_shape), tuple(input_shape[:-1])
        return self.down.compute_output_shape(input_shape)

    def get_config(self):
        return {**super().get_config(), **self.config}


def pad_for_stride(x):
    """Zeros for a 3x3 window with stride 2 whose first centre is the first pixel.

    One row above and one column to the left; below and to the right only where the window gets
    there, which an even side's does not.
    """
    _, rows, columns, _ = x.shape
    return ops.pad(x, [(0, 0), (1, rows % 2), (1, columns % 2), (0, 0)])


def _level(config: GCViTConfig, number: int) -> GCViTLevel:
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


def forward(images, config: GCViTConfig):
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


def preprocess_of(config: GCViTConfig) -> Preprocess:
    """The pixels that these weights expect: normalised with ImageNet's mean and deviation."""
    size = (config.image_size, config.image_size)
    scaling = SCALINGS["imagenet"]
    return Preprocess(network_size=size, scale=scaling.scale, offset=scaling.offset)


Config = GCViTConfig
CUSTOM_OBJECTS = {
    layer.__name__: layer
    for layer in (
        Stem,
        Downsample,
        FusedMBConv,
        GlobalQueryGenerator,
        GCViTLevel,
        GCViTBlock,
        WindowAttention,
        SqueezeExcite,
        LayerScale,
        DropPath,
    )
}
