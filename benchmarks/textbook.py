"""The five architectures as one writes them by hand from stock Keras layers.

Our own Keras models are written with export in mind: attention as plain matrix products, patches
as one convolution, windows cut by transposes of four axes. What people have is written
differently, and converters make more nodes of it. Here are the same networks in that form:
``keras.layers.MultiHeadAttention``, ``keras.ops.image.extract_patches`` and a Dense, ``Embedding``
for positions, ``Conv2D(groups=...)`` for focal filters, ``Cropping2D`` and ``ZeroPadding2D`` for
the shift, windows by a reshape to six axes. Nothing is slower on purpose.

The weights are those of our model, found by their paths; :func:`check_equal` refuses a pair that
does not compute the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import layers, ops

from edgevit.layers.window_attention import WindowAttention
from edgevit.models import gcvit

LIMIT = 1e-4  # largest difference of logits that counts as equal
ATTENTION_WEIGHT = re.compile(r"attention/(query|key|value|attention_output)/(kernel|bias)$")


def build_textbook(name: str, ours: keras.Model, config: Any) -> keras.Model:
    """The textbook form of a network, with its weights.

    Args:
        name: of the architecture.
        ours: our model, whose weights are taken over.
        config: the sizes that it was built with, form "paper".

    Returns:
        A model from images B H W 3 to logits B classes.
    """
    images = keras.Input(ours.inputs[0].shape[1:], name="images")
    model = keras.Model(images, BUILDERS[name](images, config), name=f"{name}_textbook")
    arrays = {
        variable.path: array
        for variable, array in zip(ours.weights, ours.get_weights(), strict=True)
    }
    for variable in model.weights:
        variable.assign(arrays.pop(_our_path(variable)))
    if arrays:
        raise ValueError(f"{name}: weights without a place: {', '.join(arrays)}")
    return model


def check_equal(ours: keras.Model, textbook: keras.Model, seed: int = 0) -> float:
    """Largest difference of logits between the two on random images.

    Raises:
        ValueError: it is not small, so that timing one against the other would mean nothing.
    """
    shape = (2, *ours.inputs[0].shape[1:])
    images = np.random.default_rng(seed).random(shape, dtype=np.float32)
    found = ours(images, training=False)
    wanted = ops.convert_to_numpy(found["logits"] if isinstance(found, dict) else found)
    difference = float(
        np.abs(ops.convert_to_numpy(textbook(images, training=False)) - wanted).max()
    )
    if not difference <= LIMIT:
        raise ValueError(f"the textbook's logits differ by {difference:.2e}: not the same network")
    return difference


def _our_path(variable: Any) -> str:
    """Our path of a textbook weight: ``block1__norm1/gamma`` is ``block1/norm1/gamma``."""
    path = variable.path.replace("__", "/").removeprefix("encoder/")
    return ATTENTION_WEIGHT.sub(
        lambda found: f"attention/{found[1].removeprefix('attention_')}_{found[2]}", path
    )


def _norm(name: str, epsilon: float) -> layers.Layer:
    return layers.LayerNormalization(epsilon=epsilon, name=name)


# ViT


class EncodedPatches(layers.Layer):
    """Patches, projected, with a learned vector for each position. B H W C -> B N dim."""

    def __init__(self, side: int, dim: int, **kwargs):
        super().__init__(**kwargs)
        self.side = side
        self.dim = dim

    def build(self, input_shape):
        _, rows, columns, channels = input_shape
        self.count = (rows // self.side) * (columns // self.side)
        self.length = self.side * self.side * channels
        self.projection = layers.Dense(self.dim, name="patches")
        self.positions = layers.Embedding(self.count, self.dim, name="positions")
        self.projection.build((None, self.count, self.length))
        self.positions.build((None, self.count))
        self.built = True

    def call(self, images):
        patches = ops.image.extract_patches(images, size=self.side)  # B H/p W/p p*p*C
        patches = ops.reshape(patches, (-1, self.count, self.length))  # B N p*p*C
        places = ops.expand_dims(ops.arange(self.count), axis=0)  # 1 N
        return self.projection(patches) + self.positions(places)  # B N dim


def build_vit(x, config):
    """Blocks of MultiHeadAttention and a two-layer MLP on encoded patches."""
    x = EncodedPatches(config.patch_size, config.dim, name="encoder")(x)
    for block in range(1, config.depth + 1):
        name = f"block{block}__"
        y = _norm(f"{name}norm1", config.epsilon)(x)
        y = layers.MultiHeadAttention(
            config.num_heads,
            config.head_dim,
            dropout=config.attention_dropout,
            name=f"{name}attention",
        )(y, y)
        x = layers.Add()([y, x])
        y = _norm(f"{name}norm2", config.epsilon)(x)
        y = layers.Dense(config.mlp_dim, activation="gelu", name=f"{name}expand")(y)
        y = layers.Dropout(config.dropout)(y)
        last = "gelu" if config.mlp_last_gelu else None
        y = layers.Dense(config.dim, activation=last, name=f"{name}project")(y)
        y = layers.Dropout(config.dropout)(y)
        x = layers.Add()([y, x])
    x = _norm("norm", config.epsilon)(x)
    x = layers.Dropout(config.head_dropout)(layers.Flatten()(x))
    for place, width in enumerate(config.head, start=1):
        x = layers.Dense(width, activation="gelu", name=f"head{place}")(x)
        x = layers.Dropout(config.head_dropout)(x)
    return layers.Dense(config.num_classes, name="classifier")(x)


# PatchConvNet


class Token(layers.Layer):
    """Puts a learned token in front of the others. B N C -> B N+1 C."""

    def build(self, input_shape):
        self.token = self.add_weight((1, 1, input_shape[-1]), name="token")

    def call(self, x):
        token = ops.repeat(self.token, ops.shape(x)[0], axis=0)  # B 1 C
        return ops.concatenate([token, x], axis=1)  # B N+1 C


def build_patchconvnet(x, config):
    """Convolutions with squeeze and excitation, pooled by a class token's MultiHeadAttention."""
    dim, epsilon = config.dim, config.epsilon
    for number, width in ((1, dim // 2), (2, dim)):
        x = layers.Conv2D(
            width, 3, strides=2, padding="same", activation="gelu", name=f"stem__conv{number}"
        )(x)
    for block in range(1, config.depth + 1):
        name = f"block{block}__"
        y = _norm(f"{name}norm", epsilon)(x)
        y = layers.Conv2D(dim, 1, activation="gelu", name=f"{name}expand")(y)
        y = layers.Conv2D(dim, 3, padding="same", activation="gelu", name=f"{name}spatial")(y)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        for part, width, activation in (
            ("reduce", dim // config.se_ratio, "relu"),
            ("expand", dim, "sigmoid"),
        ):
            gate = layers.Dense(
                width, activation=activation, use_bias=False, name=f"{name}excite__{part}"
            )(gate)
        y = layers.Multiply()([y, gate])
        y = layers.Conv2D(dim, 1, name=f"{name}project")(y)
        x = layers.Add()([x, y])
    tokens = layers.Reshape((-1, dim))(x)
    tokens = Token(name="pool__token")(tokens)
    normed = _norm("pool__norm1", epsilon)(tokens)
    pooled = layers.MultiHeadAttention(1, dim, dropout=config.dropout, name="pool__attention")(
        query=normed[:, 0:1], value=normed, key=normed
    )
    token = layers.Add()([tokens[:, 0], pooled[:, 0]])
    token = _norm("pool__norm3", epsilon)(_norm("pool__norm2", epsilon)(token))
    hidden = int(config.mlp_ratio * dim)
    y = layers.Dense(hidden, activation="gelu", name="pool__expand")(token)
    y = layers.Dropout(config.dropout)(y)
    y = layers.Dense(dim, activation="gelu", name="pool__project")(y)
    return layers.Dense(config.num_classes, name="classifier")(layers.Add()([token, y]))


# FocalNet


def build_focalnet(x, config):
    """Focal modulation with one Dense that is split, and grouped convolutions."""
    x = layers.Conv2D(
        config.dim, config.patch_size, strides=config.patch_size, name="patches__projection"
    )(x)
    x = _norm("patches__norm", config.embed_epsilon)(x)
    for stage, depth in enumerate(config.depths, start=1):
        for block in range(1, depth + 1):
            x = _focal_block(x, config, stage, f"stage{stage}_block{block}__")
        if stage < len(config.depths):
            width = config.dim * 2**stage
            x = layers.Conv2D(width, 2, strides=2, name=f"stage{stage}_merge__projection")(x)
            x = _norm(f"stage{stage}_merge__norm", config.embed_epsilon)(x)
    x = _norm("norm", config.embed_epsilon)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(config.num_classes, name="classifier")(x)


def _focal_block(x, config, stage, name):
    channels, levels = x.shape[-1], config.focal_levels[stage - 1]
    y = _norm(f"{name}norm1", config.epsilon)(x)
    y = layers.Dense(2 * channels + levels + 1, name=f"{name}modulation")(y)
    query, context, gates = ops.split(y, [channels, 2 * channels], axis=-1)
    total = None
    for level in range(levels):
        context = layers.Conv2D(
            channels,
            config.focal_windows[stage - 1] + config.focal_factor * level,
            padding="same",
            groups=channels,
            use_bias=False,
            activation="gelu",
            name=f"{name}modulation__f{level}",
        )(context)
        gated = context * gates[..., level : level + 1]
        total = gated if total is None else total + gated
    everywhere = ops.gelu(ops.mean(context, axis=(1, 2), keepdims=True), approximate=False)
    total = total + everywhere * gates[..., levels:]
    modulator = layers.Conv2D(channels, 1, name=f"{name}modulation__modulate")(total)
    y = layers.Dense(channels, name=f"{name}modulation__project")(query * modulator)
    x = layers.Add()([x, layers.Dropout(config.dropout)(y)])
    y = _norm(f"{name}norm2", config.epsilon)(x)
    hidden = int(config.mlp_ratio * channels)
    y = layers.Dense(hidden, activation="gelu", name=f"{name}expand")(y)
    y = layers.Dense(channels, name=f"{name}project")(y)
    return layers.Add()([x, layers.Dropout(config.dropout)(y)])


# ShiftViT


def build_shiftvit(x, config):
    """Four channel groups cropped and padded, and an MLP."""
    x = layers.Conv2D(
        config.dim,
        config.patch_size,
        strides=config.patch_size,
        padding="same",
        name="patch_projection",
    )(x)
    for stage, depth in enumerate(config.depths, start=1):
        for block in range(1, depth + 1):
            name = f"stage{stage}_block{block}__"
            x = _shift(x, config)
            y = _norm(f"{name}norm", config.epsilon)(x)
            hidden = int(config.mlp_ratio * x.shape[-1])
            y = layers.Dense(hidden, activation="gelu", name=f"{name}expand")(y)
            y = layers.Dense(x.shape[-1], name=f"{name}project")(layers.Dropout(config.dropout)(y))
            x = layers.Add()([x, layers.Dropout(config.dropout)(y)])
        if stage < len(config.depths):
            x = _norm(f"stage{stage}_merge__norm", config.epsilon)(x)
            x = layers.Conv2D(
                2 * x.shape[-1],
                2,
                strides=2,
                padding="same",
                use_bias=False,
                name=f"stage{stage}_merge__reduction",
            )(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(config.num_classes, name="classifier")(x)


def _shift(x, config):
    group, far = x.shape[-1] // config.num_div, config.shift_pixels
    *groups, rest = ops.split(x, [group, 2 * group, 3 * group, 4 * group], axis=-1)
    moves = (  # cropped here, and zeros put in at the other end: left, right, up, down
        (((0, 0), (far, 0)), ((0, 0), (0, far))),
        (((0, 0), (0, far)), ((0, 0), (far, 0))),
        (((far, 0), (0, 0)), ((0, far), (0, 0))),
        (((0, far), (0, 0)), ((far, 0), (0, 0))),
    )
    moved = [
        layers.ZeroPadding2D(zeros)(layers.Cropping2D(cropped)(part))
        for part, (cropped, zeros) in zip(groups, moves, strict=True)
    ]
    return layers.Concatenate()([*moved, rest])


# GCViT


class SixAxesAttention(WindowAttention):
    """Window attention with the usual reshapes: windows by six axes, heads by five."""

    def call(self, x, query=None, training=False):
        _, rows, columns, channels = x.shape
        side, heads = self.window, self.num_heads
        tokens, depth = side * side, channels // heads
        down, across = rows // side, columns // side
        x = ops.reshape(x, (-1, down, side, across, side, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # B H/w W/w w w C
        x = ops.reshape(x, (-1, tokens, channels))  # M N C
        parts = 2 if self.global_query else 3
        x = ops.reshape(self.qkv(x), (-1, tokens, parts, heads, depth))
        x = ops.transpose(x, (2, 0, 3, 1, 4))  # parts M K N D
        key, value = x[parts - 2], x[parts - 1]  # M K N D
        if self.global_query:
            query = ops.repeat(query, down * across, axis=0)  # M w w C
            query = ops.reshape(query, (-1, tokens, heads, depth))  # M N K D
            query = ops.transpose(query, (0, 2, 1, 3))  # M K N D
        else:
            query = x[0]
        scores = ops.matmul(query * depth**-0.5, ops.transpose(key, (0, 1, 3, 2)))  # M K N N
        bias = ops.take(self.bias_table, self.positions.reshape(-1), axis=0)  # N*N K
        bias = ops.transpose(ops.reshape(bias, (tokens, tokens, heads)), (2, 0, 1))  # K N N
        weights = ops.softmax(scores + ops.expand_dims(bias, 0), axis=-1)
        y = ops.matmul(self.drop(weights, training=training), value)  # M K N D
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, tokens, channels))  # M N C
        y = ops.reshape(self.project(y), (-1, down, across, side, side, channels))
        y = ops.transpose(y, (0, 1, 3, 2, 4, 5))  # B H/w w W/w w C
        return ops.reshape(y, (-1, rows, columns, channels)), weights


def build_gcvit(x, config):
    """Our network, but for its attention; its convolutions are stock layers already."""
    with mock.patch.object(gcvit, "WindowAttention", SixAxesAttention):
        return gcvit.forward(x, config)["logits"]


BUILDERS: dict[str, Callable[[Any, Any], Any]] = {
    "vit": build_vit,
    "patchconvnet": build_patchconvnet,
    "focalnet": build_focalnet,
    "shiftvit": build_shiftvit,
    "gcvit": build_gcvit,
}
