"""Kinds that say one thing of a whole picture: classifiers, regressors, embedders."""

from __future__ import annotations

import keras
from keras import layers, ops

from kinds.drawing import blob_labels, blobs, gratings, text_bars, vectors
from kinds.kind import Kind, Out


def convolve(x, *widths: int, stride: int = 2, activation: str = "relu"):
    """A 3x3 convolution with bias and activation for each width."""
    for width in widths:
        x = layers.Conv2D(width, 3, stride, padding="same", activation=activation)(x)  # B h w C
    return x


def pooled(x, *widths: int):
    """Convolutions, then the mean over all places. B H W C -> B C."""
    return layers.GlobalAveragePooling2D()(convolve(x, *widths))


def gray() -> keras.Model:
    image = keras.Input((28, 28, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)  # B 26 26 8
    x = layers.MaxPooling2D()(x)  # B 13 13 8
    x = layers.Conv2D(16, 3, activation="relu")(x)  # B 11 11 16
    x = layers.Flatten()(layers.MaxPooling2D()(x))  # B 400
    x = layers.Dense(32, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(image, layers.Dense(10, name="digit")(x), name="gray")


def rgba() -> keras.Model:
    image = keras.Input((32, 32, 4), name="rgba_image")
    x = pooled(image, 8, 12, 16)
    return keras.Model(image, layers.Dense(5, name="scores")(x), name="rgba")


def five_channels() -> keras.Model:
    bands = keras.Input((24, 24, 5), name="bands")
    x = layers.SeparableConv2D(12, 3, padding="same", activation="relu")(bands)
    x = pooled(x, 12, 16)
    return keras.Model(bands, layers.Dense(4, name="crop")(x), name="five_channels")


def non_square() -> keras.Model:
    image = keras.Input((48, 64, 3), name="image")
    x = layers.AveragePooling2D((3, 4))(convolve(image, 8, 12))  # B 4 4 12
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(6, name="scene")(x), name="non_square")


def free_size() -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    x = pooled(image, 8, 12, 16)
    return keras.Model(image, layers.Dense(7, name="scores")(x), name="free_size")


def softmax() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = pooled(image, 8, 16)
    chances = layers.Dense(3, activation="softmax", name="many")(x)
    return keras.Model(image, chances, name="softmax")


def sigmoid_binary() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    chance = layers.Dense(1, activation="sigmoid", name="is_defect")(pooled(image, 8, 16))
    return keras.Model(image, chance, name="sigmoid_binary")


def multi_label() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    tags = layers.Dense(6, activation="sigmoid", name="tags")(pooled(image, 8, 16))
    return keras.Model(image, tags, name="multi_label")


def regression() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.Flatten()(convolve(image, 8, 8))
    x = layers.Dense(24, activation="relu")(x)
    return keras.Model(image, layers.Dense(2, name="weight_and_price")(x), name="regression")


def mixed_units() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.Dense(24, activation="tanh")(layers.Flatten()(convolve(image, 8, 8)))
    return keras.Model(image, layers.Dense(3, name="measured")(x), name="mixed_units")


def embedding() -> keras.Model:
    face = keras.Input((32, 32, 3), name="face")
    x = layers.Flatten()(convolve(face, 8, 12, 16))
    x = layers.BatchNormalization()(layers.Dense(16)(x))
    return keras.Model(face, layers.UnitNormalization(name="embedding")(x), name="embedding")


def argmax_inside() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    scores = layers.Dense(5, name="scores")(pooled(image, 8, 16))
    return keras.Model(image, {"label": ops.argmax(scores, axis=-1)}, name="argmax_inside")


def global_max() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    x = layers.GlobalMaxPooling2D()(convolve(image, 8, 16))
    return keras.Model(image, layers.Dense(8, name="scores")(x), name="global_max")


def resized() -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Flatten()(convolve(image, 8, 12))
    return keras.Model(image, layers.Dense(6, name="scores")(x), name="resized")


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((24, 24, 3), name="image"),
            layers.Conv2D(8, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.ZeroPadding2D(1),
            layers.Conv2D(12, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(5, name="scores"),
        ],
        name="sequential",
    )


def vector_only() -> keras.Model:
    features = keras.Input((12,), name="features")
    x = layers.Dense(24, activation="relu")(layers.BatchNormalization()(features))
    return keras.Model(features, layers.Dense(4, name="scores")(x), name="vector_only")


KINDS = (
    Kind("gray", "28x28 gray picture, ten classes", gray,
         {"image": text_bars(28, 28)}, {"digit": Out("logits")}, "classification"),
    Kind("rgba", "four channels", rgba,
         {"rgba_image": gratings(32, 32, 4)}, {"scores": Out("logits")}, "classification"),
    Kind("five_channels", "five channels, separable convolution", five_channels,
         {"bands": gratings(24, 24, 5)}, {"crop": Out("logits")}, "classification"),
    Kind("non_square", "48 rows, 64 columns", non_square,
         {"image": gratings(48, 64)}, {"scene": Out("logits")}, "classification",
         scaling="imagenet"),
    Kind("free_size", "no size of its own", free_size,
         {"image": gratings(32, 32)}, {"scores": Out("logits")}, "classification",
         opening={"input_shape": {"image": (1, 32, 32, 3)}}),
    Kind("softmax", "classifier that ends in softmax", softmax,
         {"image": blobs(24, 24)}, {"many": Out("probabilities")}, "classification",
         units={"many": (2.0, 0.0)},
         labels=lambda count, seed: {"many": blob_labels(count, seed, (24, 24, 3))["many"]}),
    Kind("sigmoid_binary", "one sigmoid: yes or no", sigmoid_binary,
         {"image": gratings(24, 24)}, {"is_defect": Out("probabilities")}, "classification",
         units={"is_defect": (2.0, 0.0)}),
    Kind("multi_label", "a sigmoid for each of six labels", multi_label,
         {"image": gratings(24, 24)}, {"tags": Out("probabilities")}, "classification",
         units={"tags": (2.0, 0.0)}),
    Kind("regression", "two quantities in the thousands", regression,
         {"image": blobs(24, 24)}, {"weight_and_price": Out("values")}, "regression",
         opening={"task": "regression"},
         units={"weight_and_price": (1500.0, (4000.0, -2500.0))},
         labels=lambda count, seed: {
             "weight_and_price": blob_labels(count, seed, (24, 24, 3))["place"][:, :2] * 200
         }),
    Kind("mixed_units", "quantities near 0.001, 1 and 10,000 side by side", mixed_units,
         {"image": gratings(24, 24)}, {"measured": Out("values", 1e-3)}, "regression",
         opening={"task": "regression"}, scaling="signed",
         units={"measured": ((1e-3, 1.0, 1e4), 0.0)}),
    Kind("embedding", "unit vectors of sixteen numbers", embedding,
         {"face": gratings(32, 32)}, {"embedding": Out("embedding")}, "embedding",
         scaling="signed"),
    Kind("argmax_inside", "hands out the number of the class", argmax_inside,
         {"image": gratings(24, 24)}, {"label": Out("labels")}, "generic"),
    Kind("global_max", "maximum over all places", global_max,
         {"image": gratings(24, 24)}, {"scores": Out("logits")}, "classification"),
    Kind("resized", "24x40 pictures brought to 16x16", resized,
         {"image": gratings(24, 40)}, {"scores": Out("logits")}, "classification",
         opening={"image_size": (24, 40)}),
    Kind("sequential", "a Sequential with a batch norm after the convolution", sequential,
         {"image": gratings(24, 24)}, {"scores": Out("logits")}, "classification",
         scaling="raw"),
    Kind("vector_only", "no picture at all", vector_only,
         {"features": vectors(12)}, {"scores": Out("logits")}, "classification", scaling=None),
)  # fmt: skip
