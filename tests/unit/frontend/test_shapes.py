"""Sizes that a model leaves free are fixed by the caller, or refused with the way to do it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.shapes import is_picture


@pytest.fixture
def free_size() -> keras.Model:
    photo = keras.Input((None, None, 3), name="photo")
    state = keras.Input((4,), name="state")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(photo))
    x = layers.Concatenate()([x, state])
    return keras.Model([photo, state], layers.Dense(5, name="scores")(x), name="net")


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((None, 8, 8, 3), True),
        ((None, None, None, 1), True),
        ((None, 5, 8, 8, 3), True),
        ((None, 8, 8, 12), True),
        ((None, 8, 8, 64), False),
        ((None, 8, 8, None), False),
        ((None, 8, 3), False),
        ((None, 8), False),
    ],
)
def test_pictures_are_told_by_axes_and_channels(shape, found):
    assert is_picture(shape) is found


def test_a_free_size_is_refused_with_the_option_that_fixes_it(free_size):
    with pytest.raises(ConfigError) as caught:
        open_source(free_size)
    message = str(caught.value)
    assert message.startswith("net: its input 'photo' is 1x?x?x3")
    assert message.endswith("Give --input-shape photo=1x224x224x3.")
    assert "\n" not in message


def test_a_given_shape_fixes_it_and_the_weights_stay(free_size):
    source = open_source(free_size, input_shape={"photo": (1, 12, 10, 3)})
    photo, state = source.signature.inputs
    assert (photo.name, photo.shape) == ("photo", (None, 12, 10, 3))
    assert (state.name, state.shape) == ("state", (None, 4))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), np.uint8)
    vectors = np.ones((2, 4), np.float32)
    expected = free_size([pictures.astype(np.float32), vectors])
    found = float_outputs(source, {"photo": pictures, "state": vectors})
    np.testing.assert_allclose(found["scores"], keras.ops.convert_to_numpy(expected), rtol=1e-5)


def test_the_image_size_fixes_pictures_where_nothing_else_does(free_size):
    source = open_source(free_size, image_size=(12, 10))
    assert source.signature.inputs[0].shape == (None, 12, 10, 3)
    given = {"photo": (1, 16, 16, 3)}
    both = open_source(free_size, image_size=(12, 10), input_shape=given)
    assert both.signature.inputs[0].shape == (None, 16, 16, 3)
    assert both.signature.inputs[0].raw_shape == (12, 10, 3)


@pytest.mark.parametrize(
    ("shape", "text"),
    [((1, 12, 10, 1), "1x12x10x1"), ((1, 12, 10), "1x12x10"), ((12, 10, 3), "12x10x3")],
    ids=["channels", "axes", "no batch"],
)
def test_a_shape_that_does_not_fit_is_refused_with_both(free_size, shape, text):
    with pytest.raises(ConfigError, match=rf"--input-shape photo={text} does not fit"):
        open_source(free_size, input_shape={"photo": shape})


def test_a_shape_of_an_unknown_input_is_refused_with_near_misses(free_size):
    with pytest.raises(UnknownNameError, match="photo"):
        open_source(free_size, input_shape={"foto": (1, 12, 10, 3)})


def test_a_size_that_a_layer_cannot_take_is_refused_in_one_line(free_size):
    with pytest.raises(ConfigError, match="cannot take photo=2x2x3") as caught:
        open_source(free_size, input_shape={"photo": (1, 2, 2, 3), "state": (1, 4)})
    assert "\n" not in str(caught.value)


def test_integers_take_as_many_values_as_their_embedding_has():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Flatten()(layers.Embedding(50, 4)(tokens))
    (spec,) = open_source(keras.Model(tokens, layers.Dense(2)(x))).signature.inputs
    assert (spec.dtype, spec.levels, spec.preparation) == ("int32", 50, None)
    flags = keras.Input((6,), dtype="int32", name="flags")
    x = layers.Dense(2)(keras.ops.cast(flags, "float32"))
    (spec,) = open_source(keras.Model(flags, x)).signature.inputs
    assert spec.levels == 2
