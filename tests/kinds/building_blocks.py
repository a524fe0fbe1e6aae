"""Kinds that differ in how they are built: nested, shared, subclassed, and of other layers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from kinds.drawing import gratings
from kinds.kind import Kind, Out
from kinds.whole_picture import convolve, pooled


def nested() -> keras.Model:
    stem = keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            layers.Conv2D(8, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ],
        name="stem",
    )
    entering = keras.Input((None, None, 8))
    inner = keras.Model(entering, layers.Add()([entering, convolve(entering, 8, stride=1)]))
    middle = keras.Model(entering, convolve(inner(entering), 12), name="middle")
    image = keras.Input((24, 24, 3), name="image")
    x = layers.GlobalAveragePooling2D()(middle(stem(image)))
    head = keras.Sequential([layers.Dense(12, activation="relu"), layers.Dense(5)], name="head")
    return keras.Model(image, head(x), name="nested")


def augmentation() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomRotation(0.1)(x)
    x = layers.RandomContrast(0.2)(x)
    x = layers.GaussianNoise(0.1)(x)
    x = layers.SpatialDropout2D(0.2)(convolve(x, 8))
    return keras.Model(image, layers.Dense(5, name="scores")(pooled(x, 12)), name="augmentation")


def _resizing(interpolation: str) -> keras.Model:
    image = keras.Input((30, 22, 3), name="image")
    x = layers.Resizing(16, 16, interpolation=interpolation)(image)
    x = layers.Flatten()(convolve(layers.Rescaling(1 / 255)(x), 8, 12))
    return keras.Model(image, layers.Dense(5, name="scores")(x), name=f"resizing_{interpolation}")


def resizing_bilinear() -> keras.Model:
    return _resizing("bilinear")


def resizing_nearest() -> keras.Model:
    return _resizing("nearest")


def mixed_float16() -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        image = keras.Input((24, 24, 3), name="image")
        x = layers.Conv2D(8, 3, strides=2)(image)
        x = pooled(layers.ReLU()(layers.BatchNormalization()(x)), 16)
        scores = layers.Dense(5, name="scores", dtype="float32")(x)
        return keras.Model(image, scores, name="mixed_float16")
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("kinds")
class Subclassed(keras.Model):
    """Layers are made in the constructor and called in ``call``, as in much published code."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.stem = layers.Conv2D(8, 3, strides=2, use_bias=False)
        self.norm = layers.BatchNormalization()
        self.blocks = [layers.Conv2D(8, 3, padding="same", activation="relu") for _ in range(2)]
        self.drop = layers.Dropout(0.2)
        self.head = layers.Dense(5)

    def call(self, images, training=False):
        x = ops.relu(self.norm(self.stem(images), training=training))
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.drop(ops.mean(x, axis=(1, 2)), training=training))


@keras.saving.register_keras_serializable("kinds")
class Positions(layers.Layer):
    """Adds a learnt vector to each token. B N C."""

    def build(self, shape):
        self.table = self.add_weight(shape=tuple(shape[1:]), initializer="normal", name="table")

    def call(self, tokens):
        return tokens + self.table


def subclassed() -> keras.Model:
    model = Subclassed(name="subclassed")
    model(np.zeros((1, 24, 24, 3), np.float32))
    return model


def shared_layers() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = convolve(image, 8)
    block, norm = layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization()
    for _ in range(2):
        x = layers.Add()([x, layers.ReLU()(norm(block(x)))])
    return keras.Model(image, layers.Dense(5, name="scores")(pooled(x, 12)), name="shared_layers")


def mobilenet() -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")

    def normed(x, activation=True):
        x = layers.BatchNormalization()(x)
        return layers.ReLU(6.0)(x) if activation else x

    x = normed(layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image))
    for width, stride in ((8, 1), (12, 2), (12, 1)):
        entering = x
        x = normed(layers.Conv2D(24, 1, use_bias=False)(x))
        x = normed(layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x))
        x = normed(layers.Conv2D(width, 1, use_bias=False)(x), activation=False)
        if entering.shape == x.shape:
            x = layers.Add()([entering, x])
    x = normed(layers.SeparableConv2D(24, 3, padding="same", use_bias=False)(x))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)  # B 1 1 24
    scores = layers.Flatten()(layers.Conv2D(6, 1)(x))
    return keras.Model(image, layers.Softmax(name="scores")(scores), name="mobilenet")


def squeeze_excite() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = convolve(image, 12, activation="hard_swish")
    share = layers.GlobalAveragePooling2D(keepdims=True)(x)
    share = layers.Conv2D(4, 1, activation="relu")(share)
    share = layers.Conv2D(12, 1, activation="hard_sigmoid")(share)
    x = layers.Multiply()([x, share])
    x = layers.Activation("hard_swish")(layers.BatchNormalization()(layers.Conv2D(16, 1)(x)))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, name="scores")(x), name="squeeze_excite")


def grouped() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = convolve(image, 8)
    x = layers.Conv2D(16, 3, groups=4, padding="same", activation="relu")(x)
    x = layers.Conv2D(16, 3, dilation_rate=2, padding="same", activation="relu")(x)
    return keras.Model(image, layers.Dense(5, name="scores")(pooled(x, 12)), name="grouped")


def activations() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.ELU()(convolve(image, 8, activation="selu"))
    x = layers.LeakyReLU(0.1)(layers.Conv2D(8, 3, padding="same")(x))
    x = layers.PReLU(shared_axes=(1, 2))(layers.Conv2D(8, 3, padding="same")(x))
    for name in ("silu", "gelu", "mish", "softplus", "softsign"):
        x = convolve(x, 8, stride=1, activation=name)
    return keras.Model(image, layers.Dense(5, name="scores")(pooled(x, 12)), name="activations")


def group_norm() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.GroupNormalization(4)(layers.Conv2D(16, 3, 2)(image))
    x = layers.ReLU()(x)
    x = layers.GroupNormalization(-1)(layers.Conv2D(16, 3, 2)(x))  # each channel for itself
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(5, name="scores")(x), name="group_norm")


def tiny_vit() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.Conv2D(24, 6, 6)(image)  # B 4 4 24
    x = layers.Reshape((16, 24))(x)  # B N C
    x = Positions()(x)
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(3, 8)(y, y)
        y = layers.Dense(48, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + layers.Dense(24)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(image, layers.Dense(6, name="scores")(x), name="tiny_vit")


def normalization() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    norm = layers.Normalization(axis=-1)
    norm.adapt(gratings(24, 24)(64, 77).astype(np.float32))
    x = layers.Dense(5, name="scores")(pooled(norm(image), 8, 16))
    return keras.Model(image, x, name="normalization")


def odd_names() -> keras.Model:
    """Names with signs that files spell otherwise, and outputs against the alphabet."""
    image = keras.Input((16, 16, 3), name="camera-0.rgb")
    x = pooled(image, 8, 12)
    outputs = {
        "z.last-score": layers.Dense(4, name="dense-1.a")(x),
        "a first": layers.Dense(3, activation="sigmoid", name="dense_2")(x),
    }
    return keras.Model(image, outputs, name="odd-names.v2")


def twice_out() -> keras.Model:
    """One tensor is handed out under two names, and a feature that the scores are made of."""
    image = keras.Input((16, 16, 3), name="image")
    feature = pooled(image, 8, 12)
    scores = layers.Dense(4, name="head")(feature)
    outputs = {"again": scores, "feature": feature, "scores": scores}
    return keras.Model(image, outputs, name="twice_out")


SCORES = {"scores": Out("logits")}
SMALL = {"image": gratings(24, 24)}

KINDS = (
    Kind("nested", "models in models, a Sequential among them", nested,
         SMALL, {"head": Out("logits")}, "classification"),
    Kind("augmentation", "rescaling and augmentation inside", augmentation,
         SMALL, SCORES, "classification", scaling="raw"),
    Kind("resizing_bilinear", "a Resizing layer inside", resizing_bilinear,
         {"image": gratings(30, 22)}, SCORES, "classification", scaling="raw"),
    Kind("resizing_nearest", "a Resizing layer inside that takes the nearest pixel",
         resizing_nearest, {"image": gratings(30, 22)}, SCORES, "classification", scaling="raw"),
    Kind("mixed_float16", "trained with the mixed_float16 policy", mixed_float16,
         SMALL, SCORES, "classification"),
    Kind("subclassed", "a subclass of keras.Model", subclassed,
         {"images": gratings(24, 24)}, {"subclassed": Out("logits")}, "classification"),
    Kind("shared_layers", "a convolution and its batch norm used twice", shared_layers,
         SMALL, SCORES, "classification"),
    Kind("mobilenet", "inverted bottlenecks, depthwise, batch norm, relu6", mobilenet,
         {"image": gratings(32, 32)}, {"scores": Out("probabilities")}, "classification",
         scaling="signed"),
    Kind("squeeze_excite", "channel attention with hard swish", squeeze_excite,
         SMALL, SCORES, "classification"),
    Kind("grouped", "grouped and dilated convolutions", grouped,
         SMALL, SCORES, "classification"),
    Kind("activations", "ELU, SELU, leaky ReLU, PReLU, SiLU, GELU, mish and more", activations,
         SMALL, SCORES, "classification"),
    Kind("group_norm", "group and instance normalisation", group_norm,
         SMALL, SCORES, "classification"),
    Kind("tiny_vit", "layer norms and multi-head attention", tiny_vit,
         SMALL, SCORES, "classification", scaling="signed"),
    Kind("normalization", "a Normalization layer that was adapted on data", normalization,
         SMALL, SCORES, "classification", scaling="raw"),
    Kind("odd_names", "names with dots, dashes and blanks", odd_names,
         {"camera-0.rgb": gratings(16, 16)},
         {"z.last-score": Out("logits"), "a first": Out("probabilities")}, "classification",
         spelt={"a first": "a_first"}),
    Kind("twice_out", "one tensor under two names", twice_out,
         {"image": gratings(16, 16)},
         {"again": Out("logits"), "feature": Out("logits"), "scores": Out("logits")},
         "classification"),
)  # fmt: skip
