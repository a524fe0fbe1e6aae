"""FocalNet: attention replaced by focal modulation, gated sums of contexts of growing size.

Source: Yang et al. 2022, "Focal Modulation Networks" (arXiv:2203.11926); default sizes from the
Keras example "Focal Modulation: A replacement for Self-Attention".

Deviations of the published Keras code from its text and the paper: there is no norm before the
modulation (``form="tutorial"`` reproduces that), and the head ends in a softmax although it is
called logits (both forms return logits; the tutorial's output is their softmax).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import layers, ops

from edgevit.base.errors import ConfigError
from edgevit.layers.activations import gelu_exact
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.depthwise import DepthwiseFilter
from edgevit.layers.drop_path import DropPath
from edgevit.layers.tiles import TileConv2D
from edgevit.models.config import FORMS, ModelConfig, choice, positive, rate, size


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one FocalNet; see also :class:`ModelConfig`.

    Attributes:
        form: "paper" (a norm before the modulation) or "tutorial" (what the published Keras code
            computes).
        patch_size: side of a patch, in pixels.
        dim: channels of the first stage; each stage doubles them and halves the grid.
        depths: blocks in each stage.
        focal_levels: contexts in each stage, besides the global one.
        focal_windows: side of the first context's filter in each stage, odd.
        focal_factor: by how much a filter's side grows from one context to the next, even.
        mlp_ratio: hidden width of the MLP, as a multiple of the channels.
        dropout: rate after the patches, the modulation and the MLP, training only.
        drop_path: largest stochastic-depth rate, reached by the last block of all.
        epsilon: of the LayerNormalization in the blocks.
        embed_epsilon: of the LayerNormalization after patches and before the classifier.
        explained: (stage, block), counted from 1, whose gates and modulator are the outputs of
            these names; None: the last block of the middle stage, as in the tutorial's pictures.
    """

    form: str = choice("paper", FORMS)
    image_size: int = size(48)
    patch_size: int = size(4)
    dim: int = size(256)
    depths: tuple[int, ...] = size((2, 3, 2))
    focal_levels: tuple[int, ...] = size((2, 2, 2))
    focal_windows: tuple[int, ...] = size((3, 3, 3))
    focal_factor: int = size(2)
    mlp_ratio: float = positive(4.0)
    dropout: float = rate(0.1)
    drop_path: float = rate(0.0)
    epsilon: float = positive(1e-5)
    embed_epsilon: float = positive(1e-7)
    explained: tuple[int, int] | None = size(None)
    num_classes: int = size(10)

    def __post_init__(self):
        super().__post_init__()
        stages = len(self.depths)
        if {len(self.focal_levels), len(self.focal_windows)} != {stages}:
            raise ConfigError(
                "depths, focal_levels and focal_windows need one entry a stage. Received: "
                f"depths={self.depths}, focal_levels={self.focal_levels}, "
                f"focal_windows={self.focal_windows}"
            )
        if not all(window % 2 for window in self.focal_windows) or self.focal_factor % 2:
            raise ConfigError(
                "filters have a middle, so focal_windows must be odd and focal_factor even. "
                f"Received: focal_windows={self.focal_windows}, focal_factor={self.focal_factor}"
            )
        multiple = self.patch_size * 2 ** (stages - 1)
        if self.image_size % multiple:
            raise ConfigError(
                f"patches and {stages - 1} halvings must divide the image, so image_size must be "
                f"a multiple of {multiple}. Received: image_size={self.image_size}, "
                f"patch_size={self.patch_size}, depths={self.depths}"
            )
        if int(self.mlp_ratio * self.dim) < 1:
            raise ConfigError(
                "mlp_ratio * dim must be at least 1. Received: "
                f"mlp_ratio={self.mlp_ratio}, dim={self.dim}"
            )
        if self.explained is not None and not self._has_block(self.explained):
            raise ConfigError(
                "explained must name a stage and a block of it, counted from 1. Received: "
                f"explained={self.explained}, depths={self.depths}"
            )

    @property
    def explained_block(self) -> tuple[int, int]:
        """(stage, block), counted from 1, whose gates and modulator are outputs."""
        middle = len(self.depths) // 2 + 1
        return self.explained or (middle, self.depths[middle - 1])

    def _has_block(self, place) -> bool:
        return (
            len(place) == 2
            and place[0] <= len(self.depths)
            and place[1] <= self.depths[place[0] - 1]
        )


PAPER = {"image_size": 224, "dropout": 0.0, "embed_epsilon": 1e-5, "num_classes": 1000}
SRF = {"focal_levels": (2, 2, 2, 2), "focal_windows": (3, 3, 3, 3)}
LRF = {"focal_levels": (3, 3, 3, 3), "focal_windows": (3, 3, 3, 3)}
TINY = {**PAPER, "dim": 96, "depths": (2, 2, 6, 2), "drop_path": 0.2}
SMALL = {**PAPER, "dim": 96, "depths": (2, 2, 18, 2), "drop_path": 0.3}
BASE = {**PAPER, "dim": 128, "depths": (2, 2, 18, 2), "drop_path": 0.5}
VARIANTS = {
    "cifar": {},
    # Table 1 of the paper: small and large receptive field, two and three contexts.
    "tiny_srf": {**TINY, **SRF},
    "tiny_lrf": {**TINY, **LRF},
    "small_srf": {**SMALL, **SRF},
    "small_lrf": {**SMALL, **LRF},
    "base_srf": {**BASE, **SRF},
    "base_lrf": {**BASE, **LRF},
}
# For tests: as small as it gets with every kind of block.
TINY = {
    "image_size": 16,
    "patch_size": 2,
    "dim": 16,
    "depths": (1, 2),
    "focal_levels": (2, 2),
    "focal_windows": (3, 3),
}


class PatchEmbedding(ConfiguredLayer):
    """Projects patches that do not overlap, then normalises. B H W C -> B H/p W/p dim."""

    def __init__(self, patch_size=4, dim=256, epsilon=1e-7, **kwargs):
        super().__init__(**kwargs)
        self.projection = TileConv2D(dim, patch_size, name="projection")
        self.norm = layers.LayerNormalization(epsilon=epsilon, name="norm")

    def build(self, input_shape):
        self.projection.build(input_shape)
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, x):
        return self.norm(self.projection(x))

    def compute_output_shape(self, input_shape):
        return tuple(self.projection.compute_output_shape(input_shape))


class FocalModulation(ConfiguredLayer):
    """Multiplies each query by a modulator made of gated contexts (equations 5 to 7).

    Input: B H W C. Output: B H W C; the gates, B H W levels+1, the last one of the global
    context; the modulator, B H W C.

    Args:
        levels: contexts besides the global one.
        window: side of the first context's filter.
        factor: growth of the side from one context to the next.
        dropout: rate after the projection.
    """

    def __init__(self, levels=2, window=3, factor=2, dropout=0.0, **kwargs):
        super().__init__(**kwargs)

    def build(self, input_shape):
        channels, levels = input_shape[-1], self.levels
        width = 2 * channels + levels + 1
        self.kernel = self.add_weight((channels, width), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((width,), "zeros", name="bias")
        self.filters = [
            DepthwiseFilter(self.window + self.factor * level, name=f"f{level}")
            for level in range(levels)
        ]
        self.modulate = TileConv2D(channels, 1, name="modulate")
        self.project = layers.Dense(channels, name="project")
        self.drop = layers.Dropout(self.dropout, name="drop")
        for part in (*self.filters, self.modulate, self.project):
            part.build(input_shape)

    def call(self, x, training=False):
        channels, levels = x.shape[-1], self.levels
        # One kernel in the tutorial's checkpoints, cut here: three products need no cuts through
        # activations, and in int8 each has a scale of its own.
        query = self._part(x, 0, channels)  # B H W C
        context = self._part(x, channels, 2 * channels)  # B H W C
        gates = self._part(x, 2 * channels, 2 * channels + levels + 1)  # B H W L+1
        total = None
        for level, depthwise in enumerate(self.filters):
            context = gelu_exact(depthwise(context))  # B H W C
            gated = context * gates[:, :, :, level : level + 1]
            total = gated if total is None else total + gated
        everywhere = gelu_exact(ops.mean(context, axis=(1, 2), keepdims=True))  # B 1 1 C
        total = total + everywhere * gates[:, :, :, levels:]  # B H W C
        modulator = self.modulate(total)  # B H W C
        y = self.drop(self.project(query * modulator), training=training)
        return y, gates, modulator

    def compute_output_shape(self, input_shape):
        gates = (*input_shape[:-1], self.levels + 1)
        return tuple(input_shape), gates, tuple(input_shape)

    def _part(self, x, start, stop):
        return ops.matmul(x, self.kernel[:, start:stop]) + self.bias[start:stop]


class FocalNetBlock(ConfiguredLayer):
    """Modulation, then an MLP of the normalised result, both residual.

    Input: B H W C. Output: B H W C; gates and modulator as :class:`FocalModulation`.
    """

    def __init__(
        self, form, levels, window, factor, mlp_ratio, dropout, drop_path, epsilon, **kwargs
    ):
        super().__init__(**kwargs)
        # The tutorial's checkpoints hold the MLP's norm before the modulation.
        before = form == "paper"
        self.norm1 = layers.LayerNormalization(epsilon=epsilon, name="norm1") if before else None
        self.norm2 = layers.LayerNormalization(epsilon=epsilon, name="norm2")
        self.modulation = FocalModulation(levels, window, factor, dropout, name="modulation")
        self.drop = layers.Dropout(dropout, name="drop")
        self.drop_path = DropPath(drop_path, name="drop_path")

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = int(self.mlp_ratio * channels)
        self.expand = layers.Dense(hidden, activation=gelu_exact, name="expand")
        self.project = layers.Dense(channels, name="project")
        for part in (self.norm1, self.norm2, self.modulation, self.expand):
            if part is not None:
                part.build(input_shape)
        self.project.build((*input_shape[:-1], hidden))

    def call(self, x, training=False):
        y = x if self.norm1 is None else self.norm1(x)
        y, gates, modulator = self.modulation(y, training=training)
        x = x + self.drop_path(y, training=training)  # B H W C
        y = self.project(self.expand(self.norm2(x)))  # B H W C
        y = self.drop(y, training=training)
        return x + self.drop_path(y, training=training), gates, modulator

    def compute_output_shape(self, input_shape):
        return self.modulation.compute_output_shape(input_shape)


def forward(images, config: Config):
    """Builds the network on symbolic images B H W 3 in [0, 1].

    Returns:
        "logits": B classes. Of the explained block, on the grid of its stage: "gates", B rows
        columns levels+1 (the contexts from near to far, then the global one), and "modulator",
        B rows columns channels.
    """
    embedding = {"epsilon": config.embed_epsilon}
    x = PatchEmbedding(config.patch_size, config.dim, **embedding, name="patches")(images)
    x = layers.Dropout(config.dropout, name="patches_drop")(x)  # B H/p W/p dim
    rates = iter(np.linspace(0, config.drop_path, sum(config.depths)).tolist())
    outputs = {}
    for stage, depth in enumerate(config.depths, start=1):
        for block in range(1, depth + 1):
            x, gates, modulator = config.layer(
                FocalNetBlock,
                f"stage{stage}_block{block}",
                levels=config.focal_levels[stage - 1],
                window=config.focal_windows[stage - 1],
                factor=config.focal_factor,
                drop_path=next(rates),
            )(x)
            if (stage, block) == config.explained_block:
                outputs = {"gates": gates, "modulator": modulator}
        if stage < len(config.depths):
            width = config.dim * 2**stage
            x = PatchEmbedding(2, width, **embedding, name=f"stage{stage}_merge")(x)
    x = layers.LayerNormalization(epsilon=config.embed_epsilon, name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # B C
    logits = layers.Dense(config.num_classes, name="classifier")(x)  # B classes
    return {"logits": logits, **outputs}
