"""Kinds that say something of every place: segmentation, detection, maps."""

from __future__ import annotations

import keras
from keras import layers, ops

from kinds.drawing import blob_labels, blobs, gratings
from kinds.kind import Arrays, Kind, Out
from kinds.whole_picture import convolve


def two_heads() -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Flatten()(convolve(image, 8, 12, 16))
    x = layers.Dense(32, activation="relu")(x)
    chances = layers.Dense(3, activation="softmax", name="class")(x)
    box = layers.Dense(4, name="box")(x)  # in pixels
    return keras.Model(image, [chances, box], name="two_heads")


def unet() -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")
    first = layers.Conv2D(8, 3, padding="same", activation="relu")(image)  # B 32 32 8
    second = layers.Conv2D(12, 3, padding="same", activation="relu")(layers.MaxPooling2D()(first))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(second))
    x = layers.Conv2DTranspose(12, 2, 2)(x)  # B 16 16 12
    x = layers.Concatenate()([x, second])
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(8, 3, 2, padding="same", activation="relu")(x)  # B 32 32 8
    x = layers.Concatenate()([x, first])
    mask = layers.Conv2D(3, 1, activation="softmax", name="mask")(x)
    return keras.Model(image, mask, name="unet")


def segment_resize() -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(4, 1, name="score")(convolve(image, 8, 16))  # B 8 8 4
    x = layers.UpSampling2D(4, interpolation="bilinear", name="mask")(x)  # B 32 32 4
    return keras.Model(image, x, name="segment_resize")


def segment_sigmoid() -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")
    x = convolve(image, 8, 12)  # B 8 8 12
    x = layers.UpSampling2D(2)(x)  # B 16 16 12, nearest
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.UpSampling2D(2)(x)  # B 32 32 8
    mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="spot")(x)
    return keras.Model(image, mask, name="segment_sigmoid")


def detector() -> keras.Model:
    """Boxes and scores at two scales, in an order that is not that of the alphabet."""
    image = keras.Input((32, 32, 3), name="image")
    fine = convolve(image, 8, 12)  # B 8 8 12
    coarse = convolve(fine, 16)  # B 4 4 16
    found = {}
    for name, x in (("fine", fine), ("coarse", coarse)):
        places = x.shape[1] * x.shape[2]
        scores = layers.Conv2D(2 * 3, 3, padding="same", name=f"{name}_score")(x)
        scores = ops.reshape(scores, (-1, 2 * places, 3))  # B N classes
        boxes = layers.Conv2D(2 * 4, 3, padding="same", name=f"{name}_box")(x)
        found[f"scores_{name}"] = layers.Activation("sigmoid")(scores)
        found[f"boxes_{name}"] = ops.reshape(boxes, (-1, 2 * places, 4))  # B N 4
    return keras.Model(image, found, name="detector")


def looker() -> keras.Model:
    """A classifier that pools by attention, hands the attention out, and a feature map."""
    image = keras.Input((16, 16, 3), name="image")
    feature = layers.Conv2D(8, 4, strides=4, activation="relu", name="feature")(image)
    x = ops.reshape(feature, (-1, 16, 8))  # B N C
    shares = ops.softmax(2.0 * layers.Dense(1, name="importance")(x)[..., 0], axis=-1)  # B N
    seen = ops.matmul(ops.expand_dims(shares, 1), x)[:, 0]  # B C
    outputs = {
        "scores": layers.Dense(5, name="head")(seen),
        "attention": ops.reshape(shares, (-1, 4, 4)),
        "feature": feature,
    }
    return keras.Model(image, outputs, name="looker")


def restorer() -> keras.Model:
    """A picture goes in, a picture comes out: the residual is learnt."""
    image = keras.Input((24, 24, 3), name="noisy")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(12, 3, padding="same", name="before_shuffle")(x)
    x = ops.reshape(x, (-1, 24, 24, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 48, 48, 3))  # depth to space
    x = layers.Add(name="restored")([layers.UpSampling2D(2)(image), x])
    return keras.Model(image, x, name="restorer")


def free_segment() -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    x = convolve(image, 8, 12)
    x = layers.Conv2DTranspose(8, 4, 4, activation="relu")(x)
    return keras.Model(image, layers.Conv2D(3, 1, name="mask")(x), name="free_segment")


def spot_mask(count: int, seed: int) -> Arrays:
    """True masks for the sigmoid segmenter's inputs."""
    return {"spot": blob_labels(count, seed, (32, 32, 3))["mask"][..., None]}


DETECTED = {
    "scores_fine": Out("probabilities"),
    "boxes_fine": Out("map"),
    "scores_coarse": Out("probabilities"),
    "boxes_coarse": Out("map", 0.05),
}

KINDS = (
    Kind("two_heads", "class and box of one object", two_heads,
         {"image": blobs(32, 32)}, {"class": Out("probabilities"), "box": Out("values")},
         "classification", units={"class": (2.0, 0.0), "box": (6.0, (12.0, 9.0, 20.0, 18.0))}),
    Kind("unet", "U-Net with transposed convolutions and skips", unet,
         {"image": gratings(32, 32)}, {"mask": Out("mask")}, "segmentation",
         units={"mask": (2.0, 0.0)}),
    Kind("segment_resize", "logits brought to size by a bilinear resize", segment_resize,
         {"image": gratings(32, 32)}, {"mask": Out("mask")}, "segmentation"),
    Kind("segment_sigmoid", "one sigmoid a pixel", segment_sigmoid,
         {"image": blobs(32, 32)}, {"spot": Out("mask")}, "segmentation",
         units={"spot": (2.0, 0.0)}, labels=spot_mask),
    Kind("detector", "boxes and scores at two scales, as a dict", detector,
         {"image": gratings(32, 32)}, DETECTED, "classification"),
    Kind("looker", "scores beside an attention map and features", looker,
         {"image": gratings(16, 16)},
         {"scores": Out("logits"), "attention": Out("map"), "feature": Out("map")},
         "classification"),
    Kind("restorer", "picture to picture, twice the size, by depth to space", restorer,
         {"noisy": gratings(24, 24)}, {"restored": Out("map")}, "generic"),
    Kind("free_segment", "a segmenter without a size of its own", free_segment,
         {"image": gratings(24, 32)}, {"mask": Out("mask", 0.05)}, "segmentation",
         opening={"input_shape": {"image": (1, 24, 32, 3)}}),
)  # fmt: skip
