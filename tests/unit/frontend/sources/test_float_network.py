"""Networks of any precision become float32 networks that return what a float32 twin returns."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgevit.base.errors import ModelFileError
from edgevit.frontend.sources.network import describe_network
from helpers.refusals import line_of

PIXELS = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)


def describe(model: keras.Model) -> keras.Model:
    return describe_network(model, model.name, "net").network


def refusal(model: keras.Model) -> str:
    return line_of(ModelFileError, lambda: describe(model), "net: ")


def in_policy(policy: str, build: Callable[[], keras.Model]) -> keras.Model:
    """A model with layers of a policy, as a global setting makes them."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)


def attentive() -> keras.Model:
    entry = keras.Input((8, 8, 3), name="pixels")
    x = layers.Rescaling(1 / 255)(entry)
    x = layers.Conv2D(4, 3)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Reshape((36, 4))(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.LayerNormalization()(keras.ops.mean(x * 2.0, axis=1))
    x = layers.Lambda(lambda value: value + np.float32(1))(x)
    return keras.Model(entry, layers.Dense(3, activation="softmax")(x), name="attentive")


class Block(layers.Layer):
    def __init__(self, units: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units)
        self.norm = layers.LayerNormalization()

    def call(self, x):
        return self.norm(self.dense(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def nested() -> keras.Model:
    """Shared layers, models inside models, a cast, layers inside a layer, a dict of outputs."""
    half = "float16" if keras.config.dtype_policy().name == "mixed_float16" else "float32"
    inner_entry = keras.Input((8, 8, 4))
    inner = keras.Model(inner_entry, layers.Conv2D(4, 3, padding="same")(inner_entry), name="inner")
    chain = keras.Sequential([layers.Conv2D(4, 1), layers.ReLU()], name="chain")
    shared = layers.Conv2D(4, 3, padding="same")
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    x = layers.Add()([inner(shared(left)), inner(shared(right))])
    x = Block(5)(keras.ops.cast(chain(x), half))
    outputs = {"pooled": layers.GlobalMaxPooling2D()(x), "map": x}
    return keras.Model({"left": left, "right": right}, outputs, name="nested")


class Subclassed(keras.Model):
    def __init__(self, units: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.block = Block(units)
        self.head = layers.Dense(3)

    def call(self, x):
        return self.head(self.block(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def subclassed() -> keras.Model:
    model = Subclassed(6, name="subclassed")
    model(np.zeros((1, 8, 8, 3), np.float32))
    return model


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
@pytest.mark.parametrize("build", [attentive, nested, subclassed])
def test_a_network_of_another_precision_equals_its_float32_twin(build, policy):
    model = in_policy(policy, build)
    network = describe(model)
    twin = in_policy("float32", build)
    twin.set_weights(model.get_weights())
    inputs = {"left": PIXELS, "right": PIXELS[::-1]} if build is nested else PIXELS
    found, expected = network(inputs, training=False), twin(inputs, training=False)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        assert one.dtype == "float32"
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert {part.compute_dtype for part in network._flatten_layers()} == {"float32"}
    assert {tensor.dtype for tensor in network.inputs} == {"float32"}


def test_the_model_itself_keeps_its_precision():
    model = in_policy("mixed_float16", nested)
    before = [layer.dtype_policy.name for layer in model._flatten_layers()]
    outputs = model({"left": PIXELS, "right": PIXELS})["map"]
    describe(model)
    assert [layer.dtype_policy.name for layer in model._flatten_layers()] == before
    np.testing.assert_array_equal(model({"left": PIXELS, "right": PIXELS})["map"], outputs)


def test_one_layer_of_another_precision_is_enough():
    entry = keras.Input((4,))
    x = layers.Dense(4, dtype="mixed_bfloat16", name="narrow")(entry)
    network = describe(keras.Model(entry, layers.Dense(2)(x)))
    assert network.get_layer("narrow").compute_dtype == "float32"


def test_a_network_in_float32_stays_the_object_that_it_is():
    model = in_policy("float32", attentive)
    assert describe(model) is model


def with_lora() -> keras.Model:
    entry = keras.Input((6, 6, 2))
    einsum = layers.EinsumDense("abcd,de->abce", (None, None, 4))
    parts = [layers.Conv2D(3, 3), layers.Dense(5), einsum]
    x = entry
    for part in parts:
        x = part(x)
    return keras.Model(entry, x)


def test_lora_is_merged_into_the_kernels():
    model = with_lora()
    rng = np.random.default_rng(1)
    plain = len(model.weights)
    for layer in model.layers[1:]:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))
    network = describe(model)
    assert len(network.weights) == plain < len(model.weights)
    x = rng.normal(size=(2, 6, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(network(x), model(x), atol=1e-5)


def test_lora_of_an_embedding_is_merged():
    entry = keras.Input((3,), dtype="int32")
    embedding = layers.Embedding(10, 5)
    model = keras.Model(entry, embedding(entry))
    embedding.enable_lora(2)
    embedding.lora_embeddings_b.assign(np.ones(embedding.lora_embeddings_b.shape))
    network = describe(model)
    tokens = np.array([[1, 5, 9]])
    np.testing.assert_allclose(network(tokens), model(tokens), atol=1e-6)
    assert len(network.weights) == 1


NAMES = ["my layer", "größe", "_lead", "1st", "my model (final)", "a:b", "x" * 300, "日本語", "%"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_traced_and_saved(name, tmp_path):
    entry = keras.Input((4,), name=name)
    x = layers.Dense(3, name=f"{name} dense")(entry)
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name=name)], name=f"{name} inner")
    model = keras.Model(entry, inner(x), name=name)
    network = describe(model)
    signature = [tf.TensorSpec((1, 4), name=network.inputs[0].name)]
    traced = tf.function(network, input_signature=signature, autograph=False)
    traced.get_concrete_function()
    x = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    np.testing.assert_allclose(traced(x), model(x), atol=1e-6)
    assert model.name == name
    kept = tf.Module()
    kept.call, kept.variables_ = traced, [variable.value for variable in network.variables]
    tf.saved_model.save(kept, str(tmp_path), signatures=traced)


def test_inputs_are_called_by_their_safe_names():
    entries = {name: keras.Input((4,), name=name) for name in ("left eye", "right eye")}
    network = describe(keras.Model(entries, layers.Add()([*entries.values()])))
    assert [tensor.name for tensor in network.inputs] == ["left_eye", "right_eye"]
    ones = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(network({"left_eye": ones, "right_eye": ones}), [[2.0] * 4])


class Forgetful(layers.Layer):
    """Holds a number that its config does not name."""

    factor = 1.0

    def call(self, x):
        return x * self.factor


def test_a_layer_that_is_more_than_its_config_is_not_made_again_as_another():
    entry = keras.Input((4,))
    layer = Forgetful(dtype="mixed_float16")
    layer.factor = 3.0
    message = refusal(keras.Model(entry, layer(entry)))
    assert "is another" in message
    assert "set_dtype_policy('float32')" in message


class Closed(layers.Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)


def test_a_layer_that_cannot_be_made_again_is_named():
    def build():
        entry = keras.Input((4,))
        return keras.Model(entry, Closed(layers.Dense(2), name="shut")(entry))

    message = refusal(in_policy("mixed_float16", build))
    assert "layer 'shut' (Closed)" in message
    assert "get_config" in message


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_a_layer_that_keras_quantised_is_named(mode):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="small")])
    model.quantize(mode)
    message = refusal(model)
    assert "layer 'small' (Dense) is quantised by Keras" in message
    assert mode in message


def test_channels_that_come_first_are_refused_by_the_layer():
    entry = keras.Input((3, 8, 8))
    layer = layers.Conv2D(4, 3, data_format="channels_first", name="first")
    message = refusal(keras.Model(entry, layer(entry)))
    assert "layer 'first' (Conv2D) takes pictures with the channels first" in message


def test_channels_may_come_first_where_no_picture_is_meant():
    entry = keras.Input((3, 8))
    means = layers.GlobalAveragePooling1D(data_format="channels_first")
    model = keras.Model(entry, means(entry))
    assert describe(model) is model


def unbuilt() -> keras.Model:
    return keras.Sequential([layers.Dense(3)])


class Sized(keras.Model):
    """Branches on numbers, which symbolic inputs have not."""

    def build(self, shape):
        super().build(shape)

    def call(self, x):
        return x if float(keras.ops.sum(x)) > 0 else -x


def branching() -> keras.Model:
    model = Sized()
    model(np.ones((1, 4), np.float32))
    return model


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (unbuilt, "without an input shape"),
        (Subclassed, "was never built"),
        (branching, "fails on symbolic inputs"),
    ],
)
def test_a_model_without_inputs_says_what_it_lacks(build, words):
    assert words in refusal(build())


class Pair(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def call(self, inputs):
        left, right = inputs.values() if isinstance(inputs, dict) else inputs
        return self.dense(left) - self.dense(right)


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"a": (1, 4), "b": (1, 4)}, ["a", "b"]),
        ([(1, 4), (1, 4)], ["input_1", "input_2"]),
    ],
)
def test_a_subclassed_model_of_several_inputs_gets_them_all(inputs, names):
    arrays = keras.tree.map_shape_structure(lambda shape: np.ones(shape, np.float32), inputs)
    model = Pair(name="pair")
    model(arrays)
    network = describe(model)
    assert [tensor.name for tensor in network.inputs] == names
    np.testing.assert_array_equal(network(arrays), np.zeros((1, 3)))


def test_a_model_of_any_size_inputs_and_outputs_is_taken():
    entries = [keras.Input((None, None, 1)), keras.Input((7,), dtype="int32")]
    outputs = [layers.ReLU()(entries[0]), layers.Embedding(5, 2)(entries[1])]
    network = describe(keras.Model(entries, outputs))
    assert [tensor.shape for tensor in network.inputs] == [(None, None, None, 1), (None, 7)]
