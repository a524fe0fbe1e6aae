"""Small networks of the sorts that a kit must run."""

from __future__ import annotations

from pathlib import Path


def save_network(folder: Path, kind: str) -> Path:
    """A small network of a sort: masks, embedding, or a picture and a vector to values."""
    import keras

    keras.utils.set_random_seed(3)
    images = keras.Input((16, 12, 1 if kind == "grey" else 3), name="images")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(images / 255.0)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    inputs: list = [images]
    if kind == "mask":
        x = keras.layers.Conv2D(3, 1, activation="softmax", name="mask")(x)
    elif kind == "embedding":
        x = keras.layers.UnitNormalization(name="embedding")(keras.layers.Dense(6)(pooled))
    elif kind == "grey":
        x = keras.layers.Dense(5, name="logits")(pooled)
    elif kind == "two inputs":
        pose = keras.Input((4,), name="pose")
        inputs.append(pose)
        x = keras.layers.Dense(2, name="values")(keras.layers.Concatenate()([pooled, pose]))
    else:
        pose = keras.Input((4,), name="pose")
        inputs = [pose]
        x = keras.layers.Dense(2, name="values")(keras.layers.Dense(8, activation="relu")(pose))
    keras.Model(inputs if len(inputs) > 1 else inputs[0], x).save(folder / "net.keras")
    return folder / "net.keras"
