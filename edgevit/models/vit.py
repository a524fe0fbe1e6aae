"""ViT: a transformer over patches of the image.

Source: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words: Transformers for Image Recognition
at Scale" (arXiv:2010.11929); default sizes from the Keras example "Image classification with
Vision Transformer" in its first revision (a later one has ``dim=256, mlp_dim=512``).

The Keras example departs from the paper on purpose, and both forms follow it at the default size:
all tokens are flattened into a large head instead of reading a class token (``pool``), and a GELU
follows both Dense layers of the MLP (``mlp_last_gelu``). The variants are the paper's there.

``form="tutorial"`` is the same computation with the normalisation of the pixels inside: its
weights begin with mean, variance and count of the tutorial's adapted Normalization layer, and it
takes pixels from 0 to 255. In ``form="paper"`` that belongs to the preprocessing contract.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import IMAGENET_DEVIATION, IMAGENET_MEAN, Preprocess, Scaling
from edgevit.layers.activations import gelu_exact
from edgevit.layers.attention import TokenAttention
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.drop_path import DropPath
from edgevit.layers.patch_dropout import PatchDropout, PatchRestore
from edgevit.layers.patches import ClassToken, PatchProjection, PositionEmbedding
from edgevit.models.config import FORMS, ModelConfig, choice, positive, rate, size

POOLS = ("flatten", "token")

# Mean and standard deviation of R, G, B over all pixels of the 50,000 CIFAR-10 training images.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_DEVIATION = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one ViT; see also :class:`ModelConfig`.

    Attributes:
        form: "paper", or "tutorial" for the normalisation of pixels inside the network.
        patch_size: side of a patch, in pixels.
        dim: width of a token.
        depth: transformer blocks.
        num_heads: of the attention.
        head_dim: width of a head.
        mlp_dim: hidden width of the MLP.
        mlp_last_gelu: whether a GELU follows the MLP's second Dense too, as in the Keras example.
        pool: "flatten" (all tokens, one after another) or "token" (a class token's).
        head: widths of the Dense layers with GELU between pool and classifier.
        dropout: rate in the MLP, training only.
        attention_dropout: rate on the attention, training only.
        head_dropout: rate before and in the head, training only.
        drop_path: largest stochastic-depth rate, reached by the last block.
        patch_dropout: share of an image's patches that the blocks do not see, training only.
        epsilon: of LayerNormalization.
        pixel_mean: of R, G, B in [0, 1] over the training images.
        pixel_deviation: standard deviation of R, G, B in [0, 1] over the training images.
    """

    form: str = choice("paper", FORMS)
    image_size: int = size(72)
    patch_size: int = size(6)
    dim: int = size(64)
    depth: int = size(8)
    num_heads: int = size(4)
    head_dim: int = size(64)
    mlp_dim: int = size(128)
    mlp_last_gelu: bool = True
    pool: str = choice("flatten", POOLS)
    head: tuple[int, ...] = size((2048, 1024), empty=True)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.1)
    head_dropout: float = rate(0.5)
    drop_path: float = rate(0.0)
    patch_dropout: float = rate(0.0)
    epsilon: float = positive(1e-6)
    pixel_mean: tuple[float, float, float] = CIFAR10_MEAN
    pixel_deviation: tuple[float, float, float] = positive(CIFAR10_DEVIATION)
    num_classes: int = size(10)

    def __post_init__(self):
        super().__post_init__()
        if self.image_size % self.patch_size:
            raise ConfigError(
                "patches must divide the image, so image_size must be a multiple of patch_size. "
                f"Received: image_size={self.image_size}, patch_size={self.patch_size}"
            )
        if (len(self.pixel_mean), len(self.pixel_deviation)) != (3, 3):
            raise ConfigError(
                "pixel_mean and pixel_deviation need one entry each of R, G, B. Received: "
                f"pixel_mean={self.pixel_mean}, pixel_deviation={self.pixel_deviation}"
            )

    def preprocess(self) -> Preprocess:
        """The pixels that these weights expect.

        "paper": (pixel / 255 - mean) / deviation. "tutorial": 0..255; the network normalises.
        """
        side = self.image_size
        if self.form == "tutorial":
            return Preprocess(network_size=(side, side), scale=(1.0, 1.0, 1.0))
        scaling = Scaling.of_statistics(self.pixel_mean, self.pixel_deviation)
        return Preprocess(network_size=(side, side), scale=scaling.scale, offset=scaling.offset)


PAPER = {
    "image_size": 224,
    "patch_size": 16,
    "depth": 12,
    "head_dim": 64,
    "mlp_last_gelu": False,
    "pool": "token",
    "head": (),
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "head_dropout": 0.0,
    "pixel_mean": IMAGENET_MEAN,
    "pixel_deviation": IMAGENET_DEVIATION,
    "num_classes": 1000,
}
VARIANTS = {
    "cifar": {},
    # Base: table 1 of the paper. Tiny and small: table 1 of DeiT (arXiv:2012.12877).
    "tiny": {**PAPER, "dim": 192, "num_heads": 3, "mlp_dim": 768},
    "small": {**PAPER, "dim": 384, "num_heads": 6, "mlp_dim": 1536},
    "base": {**PAPER, "dim": 768, "num_heads": 12, "mlp_dim": 3072},
}
# For tests: as small as it gets with every kind of block.
TINY = {
    "image_size": 24,  # enough tokens for int8 products that are worth splitting
    "patch_size": 4,
    "dim": 16,
    "depth": 2,
    "num_heads": 2,
    "head_dim": 8,
    "mlp_dim": 32,
    "head": (32, 16),
}


class InputNormalization(ConfiguredLayer):
    """(pixel - mean) / deviation for each channel. B H W 3 in 0..255 -> B H W 3.

    Holds the weights of an adapted ``keras.layers.Normalization``, in its order: mean, variance
    and count (which it does not use). Unlike that layer, it computes with whatever ``set_weights``
    gave it. No weight is trained.

    Args:
        mean: initial mean of each channel, of pixels in [0, 1].
        deviation: initial standard deviation of each channel, of pixels in [0, 1].
    """

    def __init__(self, mean=CIFAR10_MEAN, deviation=CIFAR10_DEVIATION, **kwargs):
        super().__init__(**kwargs)
        self.initial_mean = [255 * value for value in mean]
        self.initial_variance = [(255 * value) ** 2 for value in deviation]

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.mean = self._add_constant("mean", shape, self.initial_mean)
        self.variance = self._add_constant("variance", shape, self.initial_variance)
        self.count = self._add_constant("count", (), 0, dtype="int")

    def call(self, images):
        # As Keras does, a channel without variance is not divided by zero.
        deviation = ops.maximum(ops.sqrt(self.variance), keras.backend.epsilon())
        return (images - self.mean) * (1.0 / deviation)

    def _add_constant(self, name, shape, value, dtype=None):
        def fill(shape, dtype=None):
            return ops.convert_to_tensor(value, dtype)

        return self.add_weight(shape, fill, dtype=dtype, trainable=False, name=name)


class TransformerBlock(ConfiguredLayer):
    """Attention, then an MLP, each of the normalised tokens and residual.

    Input: B N C. Output: B N C, and the attention B K N N.
    """

    def __init__(
        self,
        num_heads,
        head_dim,
        mlp_dim,
        mlp_last_gelu,
        dropout,
        attention_dropout,
        drop_path,
        epsilon,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # The tutorial's checkpoints are in this order.
        self.norm1 = layers.LayerNormalization(epsilon=epsilon, name="norm1")
        self.attention = TokenAttention(num_heads, head_dim, attention_dropout, name="attention")
        self.norm2 = layers.LayerNormalization(epsilon=epsilon, name="norm2")
        self.expand = layers.Dense(mlp_dim, activation=gelu_exact, name="expand")
        self.drop = layers.Dropout(dropout, name="drop")
        self.drop_path = DropPath(drop_path, name="drop_path")

    def build(self, input_shape):
        last = gelu_exact if self.mlp_last_gelu else None
        self.project = layers.Dense(input_shape[-1], activation=last, name="project")
        for part in (self.norm1, self.attention, self.norm2, self.expand):
            part.build(input_shape)
        self.project.build((*input_shape[:-1], self.mlp_dim))

    def call(self, x, training=False):
        y, attention = self.attention(self.norm1(x), training=training)  # B N C, B K N N
        x = x + self.drop_path(y, training=training)
        y = self.drop(self.expand(self.norm2(x)), training=training)  # B N hidden
        y = self.drop(self.project(y), training=training)  # B N C
        return x + self.drop_path(y, training=training), attention

    def compute_output_shape(self, input_shape):
        return self.attention.compute_output_shape(input_shape)


class ClassTokenOnly(layers.Layer):
    """Keeps the first token. B N C -> B C."""

    def call(self, x):
        return ops.reshape(x[:, :1], (-1, x.shape[-1]))  # B C

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])


def forward(images, config: Config):
    """Builds the network on symbolic images B H W 3 as its config's ``preprocess`` makes them.

    Returns:
        "logits": B classes. "attention": B heads N N of the last block; row n is what token n
        attends to and sums to one. Tokens are the patches, row by row; with ``pool="token"`` the
        class token comes before them.
    """
    x = images
    if config.form == "tutorial":
        statistics = config.pixel_mean, config.pixel_deviation
        x = InputNormalization(*statistics, name="normalization")(x)
    x = PatchProjection(config.patch_size, config.dim, name="patches")(x)  # B N dim
    token = config.pool == "token"
    if token:
        x = ClassToken(name="token")(x)  # B 1+N dim
    x = PositionEmbedding(name="positions")(x)
    ranks = None
    if config.patch_dropout:
        x, ranks = PatchDropout(config.patch_dropout, kept=int(token), name="patch_dropout")(x)
    for block in range(config.depth):
        rate = config.drop_path * block / max(1, config.depth - 1)
        x, attention = config.layer(TransformerBlock, f"block{block + 1}", drop_path=rate)(x)
    x = layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)
    if ranks is not None and not token:
        x = PatchRestore(name="patch_restore")(x, ranks)
    pool = ClassTokenOnly(name="pool") if token else layers.Flatten(name="pool")
    x = layers.Dropout(config.head_dropout, name="pool_drop")(pool(x))  # B features
    for place, width in enumerate(config.head, start=1):
        x = layers.Dense(width, activation="gelu", name=f"head{place}")(x)
        x = layers.Dropout(config.head_dropout, name=f"head{place}_drop")(x)
    logits = layers.Dense(config.num_classes, name="classifier")(x)  # B classes
    return {"logits": logits, "attention": attention}
