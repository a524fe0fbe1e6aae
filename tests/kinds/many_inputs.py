"""Kinds that take more than one picture, or something else: vectors, clips, signals, indices."""

from __future__ import annotations

import keras
from keras import layers, ops

from kinds.drawing import clips, gratings, indices, signals, text_bars, vectors
from kinds.kind import Kind, Out
from kinds.whole_picture import convolve, pooled


def picture_and_vector() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    patient = keras.Input((5,), name="patient")
    x = layers.Concatenate()([pooled(image, 8, 16), layers.Dense(8, activation="relu")(patient)])
    x = layers.Dense(16, activation="relu")(x)
    return keras.Model([image, patient], layers.Dense(4, name="scores")(x), name="with_vector")


def siamese() -> keras.Model:
    first = keras.Input((24, 24, 1), name="signature")
    second = keras.Input((24, 24, 1), name="against")
    entering = keras.Input((24, 24, 1))
    tower = layers.Dense(12, name="code")(layers.Flatten()(convolve(entering, 8, 12)))
    tower = keras.Model(entering, tower, name="tower")
    apart = ops.abs(tower(first) - tower(second))  # B 12
    same = layers.Dense(1, activation="sigmoid", name="same")(apart)
    return keras.Model([first, second], same, name="siamese")


def clip_lstm() -> keras.Model:
    clip = keras.Input((6, 16, 16, 3), name="clip")
    frame = keras.Input((16, 16, 3))
    tower = keras.Model(frame, pooled(frame, 8, 12), name="tower")
    x = layers.TimeDistributed(tower)(clip)  # B T 12
    x = layers.LSTM(16)(x)
    return keras.Model(clip, layers.Dense(5, name="action")(x), name="clip_lstm")


def _text(cell, name: str) -> keras.Model:
    line = keras.Input((16, 48, 1), name="line")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(line)
    x = layers.MaxPooling2D((4, 2))(x)  # B 4 24 8
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 24, 32))  # B T C: a step a column
    x = layers.Dense(16, activation="relu")(x)
    x = layers.Bidirectional(cell(12, return_sequences=True))(x)  # B T 24
    return keras.Model(line, layers.Dense(11, name="letters")(x), name=name)


def text_lstm() -> keras.Model:
    return _text(layers.LSTM, "text_lstm")


def text_gru() -> keras.Model:
    return _text(layers.GRU, "text_gru")


def signal() -> keras.Model:
    wave = keras.Input((64, 2), name="wave")
    x = layers.Conv1D(8, 5, strides=2, padding="same", activation="relu")(wave)
    x = layers.BatchNormalization()(layers.Conv1D(16, 3, padding="same")(x))
    x = layers.GlobalAveragePooling1D()(layers.MaxPooling1D()(layers.ReLU()(x)))
    return keras.Model(wave, layers.Dense(4, name="beat")(x), name="signal")


def conv3d() -> keras.Model:
    clip = keras.Input((6, 16, 16, 1), name="clip")
    x = layers.Conv3D(8, 3, strides=(1, 2, 2), padding="same", activation="relu")(clip)
    x = layers.MaxPooling3D((1, 2, 2))(x)  # B 6 4 4 8
    x = layers.Conv3D(12, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(clip, layers.Dense(4, name="gesture")(x), name="conv3d")


def picture_and_index() -> keras.Model:
    image = keras.Input((24, 24, 3), name="image")
    station = keras.Input((1,), dtype="int32", name="station")
    x = layers.Flatten()(layers.Embedding(9, 8, name="stations")(station))  # B 8
    x = layers.Concatenate()([pooled(image, 8, 16), x])
    return keras.Model(
        {"image": image, "station": station},
        layers.Dense(4, name="species")(x),
        name="with_index",
    )


def two_pictures() -> keras.Model:
    """Two pictures of different sizes and channels, named against the alphabet."""
    wide = keras.Input((16, 32, 3), name="wide")
    depth = keras.Input((12, 12, 1), name="depth")
    x = layers.Concatenate()([pooled(wide, 8, 12), pooled(depth, 6, 8)])
    steer = layers.Dense(1, activation="tanh", name="steering")(x)
    speed = layers.Dense(2, name="speed")(x)
    return keras.Model([wide, depth], [steer, speed], name="two_pictures")


KINDS = (
    Kind("picture_and_vector", "a picture beside a vector", picture_and_vector,
         {"image": gratings(24, 24), "patient": vectors(5)}, {"scores": Out("logits")},
         "classification"),
    Kind("siamese", "two pictures, one tower, the distance between", siamese,
         {"signature": text_bars(24, 24), "against": text_bars(24, 24)},
         {"same": Out("probabilities")}, "classification", units={"same": (1.5, 0.0)}),
    Kind("clip_lstm", "frames of a clip through a network, then an LSTM", clip_lstm,
         {"clip": clips(6, 16, 16)}, {"action": Out("logits")}, "classification"),
    Kind("text_lstm", "reads a line of text: columns through LSTMs of both directions", text_lstm,
         {"line": text_bars(16, 48)}, {"letters": Out("map")}, "generic"),
    Kind("text_gru", "the same with GRUs", text_gru,
         {"line": text_bars(16, 48)}, {"letters": Out("map")}, "generic"),
    Kind("signal", "convolutions over time", signal,
         {"wave": signals(64, 2)}, {"beat": Out("logits")}, "classification", scaling=None),
    Kind("conv3d", "convolutions over space and time", conv3d,
         {"clip": clips(6, 16, 16, 1)}, {"gesture": Out("logits")}, "classification"),
    Kind("picture_and_index", "a picture beside an embedded integer", picture_and_index,
         {"image": gratings(24, 24), "station": indices(9, 1)}, {"species": Out("logits")},
         "classification"),
    Kind("two_pictures", "two pictures of different sizes, two quantities", two_pictures,
         {"wide": gratings(16, 32), "depth": gratings(12, 12, 1)},
         {"steering": Out("values"), "speed": Out("values")}, "regression",
         units={"speed": ((10.0, 2.0), (30.0, 0.0))}),
)  # fmt: skip
