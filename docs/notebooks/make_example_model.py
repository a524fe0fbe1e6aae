"""Makes the model and the photos of the README's "my own model": a folder that can be tried out.

    python docs/notebooks/make_example_model.py my_model

Writes my_model/my.keras, a small classifier of grey pictures that was trained on pixels of 0..1,
and my_model/photos with a folder for each class. The pictures are drawn: rings, bars and crosses.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24  # pixels
CLASSES = ("bar", "cross", "ring")
TRAINED, PHOTOS = 2000, 240  # pictures


def draw_pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shapes of any place, size and grey on a noisy ground.

    Returns:
        (uint8 N H W, int64 N: indices into CLASSES).
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    pictures = np.empty((count, SIDE, SIDE), np.uint8)
    labels = rng.integers(0, len(CLASSES), count)
    for number, label in enumerate(labels):
        row, column = rng.uniform(8, SIDE - 8, 2)
        radius = rng.uniform(4, 7)
        a, b = abs(x - column) / radius, abs(y - row) / radius
        distance = np.hypot(a, b)
        inside = {
            "bar": (a <= 1) & (b <= 0.3),
            "cross": (np.minimum(a, b) <= 0.3) & (np.maximum(a, b) <= 1),
            "ring": (distance <= 1) & (distance >= 0.5),
        }[CLASSES[label]]
        ground, colour = rng.permutation([rng.uniform(20, 110), rng.uniform(140, 235)])
        noise = rng.normal(0, rng.uniform(4, 20), pictures[0].shape)
        pictures[number] = np.clip(np.where(inside, colour, ground) + noise, 0, 255)
    return pictures, labels


def write_photos(folder: Path) -> None:
    """Class folders of pictures that the model has not seen."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    pictures, labels = draw_pictures(PHOTOS, seed=1)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        Image.fromarray(picture).save(folder / CLASSES[label] / f"{number:03}.png")


def train_model(path: Path) -> None:
    """A convolutional network whose pixels are scaled outside of it, as many are."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = image
    for width in (16, 32):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(48, activation="relu")(layers.Flatten()(x))
    shape = layers.Dense(len(CLASSES), activation="softmax", name="shape")(x)
    model = keras.Model(image, shape, name="my")
    model.compile("adam", "sparse_categorical_crossentropy")
    pictures, labels = draw_pictures(TRAINED, seed=0)
    model.fit(pictures[..., None] / 255.0, labels, epochs=6, batch_size=32, verbose=0)
    model.save(path)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    folder = Path(sys.argv[1])
    write_photos(folder / "photos")
    train_model(folder / "my.keras")


if __name__ == "__main__":
    main()
