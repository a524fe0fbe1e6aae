"""Small networks of everyday kinds, trained in minutes: limits and faults are measured on them.

Classifiers learn CIFAR-10; the segmenter, the regressor and the embedder learn drawn shapes, whose
class, place and outline are known. Each is trained once and kept as a .keras file in a folder.

    python benchmarks/small_networks.py FOLDER mobilenetv2 unet
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers

from edgevit.data.datasets import find_source, load_dataset

SIDE = 32
SHAPES = ("circle", "square", "triangle", "cross", "ring")


@dataclass(frozen=True)
class Shapes:
    """Drawn pictures of one shape each, with all that is known of it.

    Attributes:
        images: uint8 N 32 32 3.
        labels: int64 N, an index into SHAPES.
        masks: int64 N 32 32: 0 for the background, else the shape's index plus one.
        values: float32 N 3: row and column of its middle in pixels, and its area in square
            micrometres where a pixel is 4 um wide: units of very different size.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    values: np.ndarray


def draw_shapes(count: int, seed: int) -> Shapes:
    """Draws shapes of any colour, size and turn on a shaded, noisy ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    masks = np.zeros((count, SIDE, SIDE), np.int64)
    labels = rng.integers(0, len(SHAPES), count)
    values = np.empty((count, 3), np.float32)
    for number, label in enumerate(labels):
        row, column = rng.uniform(9, SIDE - 9, 2)
        radius, turn = rng.uniform(4, 8.5), rng.uniform(0, 2 * np.pi)
        a = np.cos(turn) * (x - column) + np.sin(turn) * (y - row)
        b = np.cos(turn) * (y - row) - np.sin(turn) * (x - column)
        inside = _inside(SHAPES[label], a / radius, b / radius)
        ground, colour = rng.uniform(20, 235, (2, 3))
        slope = rng.uniform(-2, 2, 2)
        picture = ground + (slope[0] * (x - 16) + slope[1] * (y - 16))[..., None]
        picture = np.where(inside[..., None], colour, picture)
        picture = picture + rng.normal(0, rng.uniform(1, 10), picture.shape)
        images[number] = np.clip(picture, 0, 255)
        masks[number][inside] = label + 1
        values[number] = row, column, 16 * inside.sum()
    return Shapes(images, labels.astype(np.int64), masks, values)


def _inside(shape: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    distance = np.hypot(a, b)
    return {
        "circle": distance <= 1,
        "square": np.maximum(abs(a), abs(b)) <= 0.8,
        "triangle": (b >= -0.6) & (b <= 0.9 - 1.7 * abs(a)),
        "cross": (np.minimum(abs(a), abs(b)) <= 0.3) & (np.maximum(abs(a), abs(b)) <= 1),
        "ring": (distance <= 1) & (distance >= 0.55),
    }[shape]


def _conv(x: Any, width: int, kernel: int = 3, strides: int = 1, act: str | None = "relu") -> Any:
    x = layers.Conv2D(width, kernel, strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(act)(x) if act else x


def _pool_and_classify(images: Any, x: Any, name: str, classes: int = 10) -> keras.Model:
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(classes, activation="softmax")(x), name=name)


def build_resnet8() -> keras.Model:
    """The residual network of MLPerf Tiny (Banbury et al. 2021, arXiv:2106.07597)."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = _conv(layers.Rescaling(1 / 255)(images), 16)
    for width, strides in ((16, 1), (32, 2), (64, 2)):
        y = _conv(_conv(x, width, 3, strides), width, 3, 1, None)
        if strides > 1:
            x = layers.Conv2D(width, 1, strides)(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    return _pool_and_classify(images, x, "resnet8")


def build_mobilenetv2() -> keras.Model:
    """Inverted residuals with relu6 (Sandler et al. 2018, arXiv:1801.04381), narrow."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = _conv(layers.Rescaling(1 / 127.5, -1)(images), 16, act="relu6")
    for width, strides in ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1), (64, 1)):
        before, inner = x, 4 * x.shape[-1]
        x = _conv(x, inner, 1, act="relu6")
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = layers.Activation("relu6")(layers.BatchNormalization()(x))
        x = _conv(x, width, 1, act=None)
        if strides == 1 and before.shape[-1] == width:
            x = layers.Add()([before, x])
    return _pool_and_classify(images, _conv(x, 128, 1, act="relu6"), "mobilenetv2")


def build_mobilenetv3() -> keras.Model:
    """Squeeze-and-excitation and hard-swish (Howard et al. 2019, arXiv:1905.02244), narrow."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = _conv(layers.Rescaling(1 / 127.5, -1)(images), 16, act="hard_swish")
    for width, strides in ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1)):
        before, inner = x, 4 * x.shape[-1]
        x = _conv(x, inner, 1, act="hard_swish")
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(max(8, inner // 4), 1, activation="relu")(gate)
        x = layers.Multiply()([x, layers.Conv2D(inner, 1, activation="hard_sigmoid")(gate)])
        x = _conv(x, width, 1, act=None)
        if strides == 1 and before.shape[-1] == width:
            x = layers.Add()([before, x])
    return _pool_and_classify(images, x, "mobilenetv3")


def build_vgg() -> keras.Model:
    """Plain convolutions with biases and no normalisation."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = layers.Rescaling(1 / 255)(images)
    for width in (24, 48, 96):
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(96, activation="relu")(layers.Flatten()(x))
    return keras.Model(images, layers.Dense(10)(x), name="vgg")


def build_convnext() -> keras.Model:
    """Depthwise 7x7, LayerNormalization and GELU (Liu et al. 2022, arXiv:2201.03545), narrow."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = layers.Conv2D(40, 4, 4)(layers.Rescaling(1 / 127.5, -1)(images))
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    for _ in range(3):
        y = layers.DepthwiseConv2D(7, padding="same")(x)
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Dense(40)(layers.Activation("gelu")(layers.Dense(160)(y)))
        x = layers.Add()([x, y])
    return _pool_and_classify(images, x, "convnext")


def build_unet() -> keras.Model:
    """Encoder, decoder and skips (Ronneberger et al. 2015, arXiv:1505.04597)."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    first = _conv(layers.Rescaling(1 / 255)(images), 16)
    second = _conv(layers.MaxPooling2D()(first), 32)
    x = _conv(layers.MaxPooling2D()(second), 48)
    for width, skip in ((32, second), (16, first)):
        x = layers.Conv2DTranspose(width, 2, 2)(x)
        x = _conv(layers.Concatenate()([x, skip]), width)
    mask = layers.Conv2D(len(SHAPES) + 1, 1, activation="softmax", name="mask")(x)
    return keras.Model(images, mask, name="unet")


def _shapes_trunk() -> tuple[Any, Any]:
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = layers.Rescaling(1 / 255)(images)
    for width in (16, 32, 48):
        x = layers.MaxPooling2D()(_conv(x, width))
    return images, layers.Flatten()(x)


def build_regressor() -> keras.Model:
    """Place and area of a shape, each in its own unit."""
    images, x = _shapes_trunk()
    x = layers.Dense(64, activation="relu")(x)
    # The last layer's units are the quantities' own: outputs reach the thousands.
    values = layers.Dense(3, name="raw")(x)
    scaled = layers.Rescaling([8.0, 8.0, 1000.0], [16.0, 16.0, 1500.0], name="values")(values)
    return keras.Model(images, scaled, name="regressor")


def build_embedder() -> keras.Model:
    """Vectors of unit length, near for pictures of one shape."""
    images, x = _shapes_trunk()
    x = layers.Dense(32)(x)
    return keras.Model(images, layers.UnitNormalization(name="embedding")(x), name="embedder")


def _mobile_trunk() -> tuple[Any, Any]:
    """Depthwise convolutions and hard swish, an eighth of the size."""
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = _conv(layers.Rescaling(1 / 127.5, -1)(images), 16, act="hard_swish")
    for width, strides in ((32, 2), (48, 2), (64, 2), (64, 1)):
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
        x = _conv(x, width, 1, act="hard_swish")
    return images, x


def build_fcn() -> keras.Model:
    """Logits of a small picture, brought to size (Long et al. 2015, arXiv:1411.4038)."""
    images, x = _mobile_trunk()
    x = layers.Conv2D(len(SHAPES) + 1, 1)(x)
    mask = layers.UpSampling2D(8, interpolation="bilinear", name="mask")(x)
    return keras.Model(images, mask, name="fcn")


def build_pose() -> keras.Model:
    """Place of a shape and the root of its area, all in pixels."""
    images, x = _mobile_trunk()
    x = layers.Dense(48, activation="relu")(layers.Flatten()(x))
    values = layers.Dense(3, name="raw")(x)
    scaled = layers.Rescaling(8.0, 16.0, name="values")(values)
    return keras.Model(images, scaled, name="pose")


def build_descriptor() -> keras.Model:
    """Vectors of unit length out of averaged features."""
    images, x = _mobile_trunk()
    x = layers.Dense(24)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, layers.UnitNormalization(name="embedding")(x), name="descriptor")


def build_multilabel() -> keras.Model:
    """Whether a shape is in the upper half, in the left half, large, and round."""
    images, x = _shapes_trunk()
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(
        images, layers.Dense(4, activation="sigmoid", name="tags")(x), name="multilabel"
    )


def _classifier(build: Callable[[], keras.Model], epochs: int, images: int) -> keras.Model:
    model = build()
    data = load_dataset(find_source(None), "train", (SIDE, SIDE))
    chosen = np.random.default_rng(0).permutation(len(data))[:images]
    logits = model.layers[-1].activation is keras.activations.linear
    _fit(
        model,
        data.images[chosen],
        data.labels[chosen],
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        epochs,
        flip=True,
    )
    return model


def _fit(model: keras.Model, x: Any, y: Any, loss: Any, epochs: int, flip: bool = False) -> None:
    batch = 128
    steps = epochs * (len(x) // batch)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(schedule), loss)
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        given = x
        if flip and epoch % 2:
            given = x[:, :, ::-1]
        order = rng.permutation(len(x))
        history = model.fit(given[order], y[order], batch, 1, verbose=0)
        print(f"{model.name}: epoch {epoch + 1}, loss {history.history['loss'][0]:.4f}", flush=True)


def _segmenter(build: Callable[[], keras.Model]) -> keras.Model:
    shapes, model = draw_shapes(6000, 1), build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=model.name == "fcn")
    _fit(model, shapes.images, shapes.masks, loss, 8)
    return model


def _regressor(build: Callable[[], keras.Model]) -> keras.Model:
    shapes, model = draw_shapes(8000, 2), build()
    raw = keras.Model(model.inputs, model.get_layer("raw").output, name=model.name)
    last = model.get_layer("values")
    values = shapes.values.copy()
    if model.name == "pose":
        values[:, 2] = np.sqrt(values[:, 2])
    wanted = (values - last.offset) / last.scale
    _fit(raw, shapes.images, wanted.astype(np.float32), "mse", 10)
    return model


def _embedder(build: Callable[[], keras.Model]) -> keras.Model:
    shapes, model = draw_shapes(8000, 3), build()
    head = layers.Dense(len(SHAPES), use_bias=False, kernel_constraint="unit_norm")
    scaled = layers.Lambda(lambda x: 12 * x)(head(model.output))
    trained = keras.Model(model.inputs, scaled, name=model.name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    _fit(trained, shapes.images, shapes.labels, loss, 8)
    return model


def _train_multilabel() -> keras.Model:
    shapes, model = draw_shapes(8000, 4), build_multilabel()
    row, column, area = shapes.values.T
    tags = [row < 16, column < 16, area > 1600, np.isin(shapes.labels, (0, 4))]
    _fit(model, shapes.images, np.stack(tags, 1).astype(np.float32), "binary_crossentropy", 10)
    return model


# name -> how it is trained
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "resnet8": lambda: _classifier(build_resnet8, 5, 20_000),
    "mobilenetv2": lambda: _classifier(build_mobilenetv2, 5, 20_000),
    "mobilenetv3": lambda: _classifier(build_mobilenetv3, 5, 20_000),
    "vgg": lambda: _classifier(build_vgg, 5, 20_000),
    "convnext": lambda: _classifier(build_convnext, 5, 20_000),
    "unet": lambda: _segmenter(build_unet),
    "fcn": lambda: _segmenter(build_fcn),
    "regressor": lambda: _regressor(build_regressor),
    "pose": lambda: _regressor(build_pose),
    "embedder": lambda: _embedder(build_embedder),
    "descriptor": lambda: _embedder(build_descriptor),
    "multilabel": _train_multilabel,
}
PHOTOGRAPHS = ("resnet8", "mobilenetv2", "mobilenetv3", "vgg", "convnext")


def train(name: str, folder: Path) -> Path:
    """The .keras file of a network; trained first where it is not there."""
    path = folder / f"{name}.keras"
    if not path.exists():
        keras.utils.set_random_seed(0)
        folder.mkdir(parents=True, exist_ok=True)
        NETWORKS[name]().save(path)
    return path


def draw_samples(name: str, count: int, seed: int) -> tuple[np.ndarray, Shapes | None]:
    """Pictures of the kind that a network was trained on: uint8 N 32 32 3, and what is known."""
    if name in PHOTOGRAPHS:
        data = load_dataset(find_source(None), "train", (SIDE, SIDE))
        chosen = np.random.default_rng(seed).permutation(len(data))[:count]
        return data.images[chosen], None
    shapes = draw_shapes(count, seed)
    return shapes.images, shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    options = parser.parse_args()
    for name in options.names:
        print(train(name, options.folder), flush=True)


if __name__ == "__main__":
    main()
