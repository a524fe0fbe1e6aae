"""The float network as one function: the same bits, or Keras' own run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgevit.frontend.compiled import compile_network
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import BATCH, WORTH_COMPILING, float_outputs


@keras.saving.register_keras_serializable("test_compiled")
class Elsewhere(layers.Layer):
    """Another function where it is traced than where it runs."""

    def call(self, x):
        return x if tf.executing_eagerly() else 2 * x


@keras.saving.register_keras_serializable("test_compiled")
class Unknown(layers.Layer):
    """Its Python reads values, which a traced function has not."""

    def call(self, x):
        return x * float(tf.reduce_max(x).numpy())

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def source_of(layer: layers.Layer):
    keras.utils.set_random_seed(3)
    x = photo = keras.Input((8, 8, 3), name="photo")
    x = layers.LayerNormalization()(layers.Conv2D(4, 3, activation="gelu")(x))
    x = layers.Dense(5)(layers.Flatten()(layer(x)))
    return open_source(keras.Model(photo, layers.Activation("softmax")(x)), scaling="unit")


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)


def test_a_compiled_network_returns_the_bits_of_one_layer_after_the_other():
    source, given = source_of(layers.Identity()), pictures(BATCH)
    entering = source.prepare({"photo": given})
    call = compile_network(source, {"photo": given})
    (found,), (expected,) = call(entering).values(), source.call(entering).values()
    assert np.array_equal(found, expected)
    assert not tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer")


@pytest.mark.parametrize("layer", [Elsewhere(), Unknown()])
def test_a_network_that_is_another_one_inside_a_function_is_recorded_as_keras_runs_it(layer):
    source, given = source_of(layer), pictures(WORTH_COMPILING * BATCH + 5)
    assert compile_network(source, {"photo": given}) is None
    chunks = [
        np.asarray(next(iter(source.call(source.prepare({"photo": chunk})).values())))
        for chunk in np.split(given, range(BATCH, len(given), BATCH))
    ]
    (found,) = float_outputs(source, given).values()
    assert np.array_equal(found, np.concatenate(chunks))
