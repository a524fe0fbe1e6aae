"""A functional model holds no value longer than it is read."""

from __future__ import annotations

import weakref

import keras
import numpy as np

from edgevit.frontend.dropped_values import values_dropped

SHAPE = (2, 16)


class Pair(keras.layers.Layer):
    """Two values, of which nobody reads the second."""

    def call(self, x):
        return x + 1, x * 2


def count_alive(network: keras.Model, monkeypatch) -> list[int]:
    """How many results of layers are alive whenever one has returned."""
    made: list[weakref.ref] = []
    counts: list[int] = []
    own = keras.layers.Layer.__call__

    def call(self, *args, **kwargs):
        result = own(self, *args, **kwargs)
        for value in keras.tree.flatten(result):
            made.append(weakref.ref(value))
        counts.append(sum(ref() is not None for ref in made))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Layer, "__call__", call)
        network(np.ones(SHAPE, np.float32), training=False)
    return counts[:-1]  # without the model itself, which returns its outputs


def test_values_go_behind_their_last_reader(monkeypatch):
    x = images = keras.Input(SHAPE[1:])
    first = keras.layers.Dense(16)(x)
    x = first
    for _ in range(8):
        x, _ = Pair()(x)
    inner = keras.Model(images, [keras.layers.Add()([x, first]), first])
    outputs = inner(images)
    network = keras.Model(images, outputs)
    expected = network(np.ones(SHAPE, np.float32), training=False)
    kept = count_alive(network, monkeypatch)
    with values_dropped():
        dropped = count_alive(network, monkeypatch)
        found = network(np.ones(SHAPE, np.float32), training=False)
    assert max(kept) >= 17
    assert max(dropped) <= 6  # the first, which is read last, and two layers' pairs
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
