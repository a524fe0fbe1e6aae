"""Does an export notice pixels that are scaled twice, or not at all?

Trains small classifiers of drawn shapes, every other one with a Rescaling inside, and exports each
with the wrong --scaling, once with class folders beside it and once without anything, and with the
right one.

    python benchmarks/scaling_mistakes.py --runs 10
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image
from small_networks import SHAPES, SIDE, draw_shapes

from edgevit.frontend.opening import open_source
from edgevit.verbs.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    found = warned = alarms = 0
    for seed in range(options.runs):
        inside = bool(seed % 2)
        model, share = train_classifier(seed, inside)
        # Twice, or neither; and as it was trained.
        wrong, right = ("unit", "raw") if inside else (None, "unit")
        lines = list_lines(model, wrong, seed)
        alone = open_source(model, scaling=wrong).warnings
        false = list_lines(model, right, seed)
        found, warned, alarms = found + bool(lines), warned + bool(alone), alarms + bool(false)
        what = "scaled twice" if inside else "not scaled"
        print(f"seed {seed}, {what}, right on {100 * share:.0f} % when scaled well", flush=True)
        print(f"  with class folders: {lines or 'nothing'}\n  without: {alone or 'nothing'}")
        print(f"  scaled well: {false or 'nothing'}", flush=True)
    print(
        f"of {options.runs}: found with class folders {found}; warned without {warned}; "
        f"false alarms where it is scaled well {alarms}"
    )


def list_lines(model: keras.Model, scaling: str | None, seed: int) -> list[str]:
    """What an export with class folders says of the labels."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "shapes"
        write_folders(folder, seed)
        outcome = export(model, "tflite-float32", place, scaling=scaling, calibration=str(folder))
    return [line for line in outcome.warnings if "%" in line]


def train_classifier(seed: int, inside: bool) -> tuple[keras.Model, float]:
    """(a classifier of shapes, its accuracy on pixels that are scaled as it was trained)."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = layers.Rescaling(1 / 255)(images) if inside else images
    for width in (16, 32, 48):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(48, activation="relu")(layers.Flatten()(x))
    model = keras.Model(images, layers.Dense(len(SHAPES), activation="softmax")(x), name="shapes")
    optimizer = keras.optimizers.Adam(2e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    shapes, scale = draw_shapes(4000, 100 + seed), 1.0 if inside else 1 / 255
    model.fit(shapes.images * np.float32(scale), shapes.labels, 64, 8, verbose=0)
    test = draw_shapes(500, 200 + seed)
    right = model.evaluate(test.images * np.float32(scale), test.labels, verbose=0)[1]
    return model, float(right)


def write_folders(folder: Path, seed: int) -> None:
    """Class folders of drawn shapes, named so that their order is that of the labels."""
    shapes = draw_shapes(250, 300 + seed)
    for number, (image, label) in enumerate(zip(shapes.images, shapes.labels, strict=True)):
        place = folder / f"{label}-{SHAPES[label]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")


if __name__ == "__main__":
    main()
