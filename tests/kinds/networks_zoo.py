"""Published networks: the smallest of each family of keras.applications, MLPerf Tiny's shapes, and
transfer learning as everybody does it.

Pictures are small, so that a run takes minutes; depth, width and operators are the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers

from kinds.drawing import gratings, vectors
from kinds.kind import Kind, Out

SIDE = 48  # pixels
MANY: Mapping[str, Any] = {"settled_on": 192, "calibrated_on": 192, "deep": True}
CLASSES = 10
# The smallest member of each family: the scaling that it was trained with, and the side of its
# pictures where it takes no smaller one.
FAMILIES: Mapping[str, tuple[str, int]] = {
    "MobileNet": ("signed", SIDE),
    "MobileNetV2": ("signed", SIDE),
    "MobileNetV3Small": ("raw", SIDE),
    "MobileNetV3Large": ("raw", SIDE),
    "EfficientNetB0": ("raw", SIDE),
    "EfficientNetV2B0": ("raw", SIDE),
    "ResNet50": ("caffe", SIDE),
    "ResNet50V2": ("signed", SIDE),
    "DenseNet121": ("imagenet", SIDE),
    "ConvNeXtTiny": ("raw", SIDE),
    "VGG16": ("caffe", SIDE),
    "Xception": ("signed", 71),
    "InceptionV3": ("signed", 75),
    "InceptionResNetV2": ("signed", 75),
    "NASNetMobile": ("signed", SIDE),
}
# Where the layer that makes the scores is not called as the output.
HEADS: Mapping[str, str] = {
    "MobileNet": "conv_preds",
    "MobileNetV3Small": "logits",
    "MobileNetV3Large": "logits",
}
OUTPUTS: Mapping[str, str] = {"ConvNeXtTiny": "convnext_tiny_head_dense"}


def _application(name: str, side: int) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        return getattr(keras.applications, name)(
            weights=None, input_shape=(side, side, 3), classes=CLASSES, classifier_activation=None
        )

    return build


def _family(name: str, scaling: str, side: int) -> Kind:
    output = OUTPUTS.get(name, "predictions")
    return Kind(f"network_{name.lower()}", name, _application(name, side),
                {"images": gratings(side, side)}, {output: Out("logits", 0.0)},
                "classification", scaling, head=HEADS.get(name, output),
                **MANY)  # fmt: skip


def transfer(name: str = "MobileNetV2", **options: Any) -> keras.Model:
    """A frozen base behind augmentation and scaling, and a new head."""
    base = getattr(keras.applications, name)(
        weights=None, input_shape=(SIDE, SIDE, 3), include_top=False, **options
    )
    base.trainable = False
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(image))
    x = base(layers.Rescaling(1 / 127.5, offset=-1.0)(x), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(5, name="flower")(x), name=f"transfer_{name}")


def resnet8() -> keras.Model:
    """MLPerf Tiny's image classification (Banbury et al. 2021, arXiv:2106.07597)."""
    image = keras.Input((32, 32, 3), name="image")

    def normed(x: Any, width: int, size: int, stride: int = 1) -> Any:
        x = layers.Conv2D(width, size, stride, padding="same")(x)
        return layers.BatchNormalization()(x)

    x = layers.ReLU()(normed(image, 16, 3))
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        y = normed(layers.ReLU()(normed(x, width, 3, stride)), width, 3)
        beside = x if stride == 1 else layers.Conv2D(width, 1, stride, padding="same")(x)
        x = layers.ReLU()(layers.Add()([beside, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(
        image, layers.Dense(10, activation="softmax", name="label")(x), name="resnet8"
    )


def person_detector() -> keras.Model:
    """MLPerf Tiny's visual wake words: MobileNetV1 of a quarter of the width, on 96x96."""
    base = keras.applications.MobileNet(
        weights=None, input_shape=(96, 96, 3), alpha=0.25, include_top=False, pooling="avg"
    )
    scores = layers.Dense(2, activation="softmax", name="person")(base.output)
    return keras.Model(base.input, scores, name="person_detector")


def keyword_spotter() -> keras.Model:
    """MLPerf Tiny's keyword spotting: a depthwise network on 49 frames of 10 coefficients."""
    frames = keras.Input((49, 10, 1), name="frames")
    x = layers.Conv2D(64, (10, 4), 2, padding="same")(frames)
    x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(x)))
    for _ in range(4):
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, 1)(x)))
    x = layers.Flatten()(layers.AveragePooling2D((25, 5))(layers.Dropout(0.4)(x)))
    scores = layers.Dense(12, activation="softmax", name="word")(x)
    return keras.Model(frames, scores, name="keyword_spotter")


def autoencoder() -> keras.Model:
    """MLPerf Tiny's anomaly detection: Dense layers that give back what they get."""
    machine = keras.Input((640,), name="machine")
    x = machine
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(width)(x)))
    return keras.Model(machine, layers.Dense(640, name="restored")(x), name="autoencoder")


SMALL = {"image": gratings(SIDE, SIDE)}
FLOWER = {"flower": Out("logits")}
KINDS = (
    Kind("network_resnet8", "MLPerf Tiny: image classification", resnet8,
         {"image": gratings(32, 32)}, {"label": Out("probabilities")}, "classification",
         head="label"),
    Kind("network_person", "MLPerf Tiny: visual wake words", person_detector,
         {"images": gratings(96, 96)}, {"person": Out("probabilities")}, "classification",
         head="person", **MANY),
    Kind("network_keyword", "MLPerf Tiny: keyword spotting", keyword_spotter,
         {"frames": gratings(49, 10, 1)}, {"word": Out("probabilities")}, "classification",
         head="word", **MANY),
    Kind("network_anomaly", "MLPerf Tiny: anomaly detection", autoencoder,
         {"machine": vectors(640)}, {"restored": Out("values")}, "regression", scaling=None),
    Kind("network_transfer_mobilenetv2", "transfer learning on MobileNetV2, width 0.35",
         lambda: transfer("MobileNetV2", alpha=0.35), SMALL, FLOWER, "classification",
         scaling="raw", head="flower", **MANY),
    Kind("network_transfer_mobilenet", "transfer learning on MobileNet, width 0.25",
         lambda: transfer("MobileNet", alpha=0.25), SMALL, FLOWER, "classification",
         scaling="raw", head="flower", **MANY),
    *(_family(name, *given) for name, given in FAMILIES.items()),
)  # fmt: skip
