"""Names of inputs and outputs: the model's own, and never one that depends on the process."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from edgevit.base.errors import UnknownNameError
from edgevit.frontend.naming import tell_apart
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source


def names_of(source: Source) -> tuple[list[str], list[str]]:
    signature = source.signature
    return [spec.name for spec in signature.inputs], [spec.name for spec in signature.outputs]


def pooled(images):
    return layers.GlobalAveragePooling2D()(images)


def test_names_that_the_model_gives_stay():
    photo, state = keras.Input((8, 8, 3), name="photo"), keras.Input((4,), name="state")
    x = layers.Concatenate()([pooled(photo), state])
    model = keras.Model(
        [photo, state], [layers.Dense(2, name="b")(x), layers.Dense(3, name="a")(x)]
    )
    assert names_of(open_source(model)) == (["photo", "state"], ["b", "a"])


def test_keys_of_dicts_are_the_names():
    photo, state = keras.Input((8, 8, 3)), keras.Input((4,), name="other")
    x = layers.Concatenate()([pooled(photo), state])
    outputs = {"steering": layers.Dense(1)(x), "brake": {"left": layers.Dense(1)(x)}}
    model = keras.Model({"camera": photo, "state": state}, outputs)
    inputs, found = names_of(open_source(model))
    assert set(inputs) == {"camera", "state"}
    assert set(found) == {"steering", "brakeleft"}


def test_the_only_picture_without_a_name_is_called_images():
    for _ in range(2):  # Keras numbers them by what the process built before
        images = keras.Input((8, 8, 3))
        assert names_of(open_source(keras.Model(images, pooled(images))))[0] == ["images"]
    sequential = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    assert names_of(open_source(sequential))[0] == ["images"]


def test_other_inputs_without_a_name_are_numbered_from_the_model_alone():
    for _ in range(2):
        first, second, vector = keras.Input((8, 8, 3)), keras.Input((8, 8, 3)), keras.Input((4,))
        x = layers.Concatenate()([pooled(first), pooled(second), vector])
        model = keras.Model([first, second, vector], layers.Dense(2, name="out")(x))
        assert names_of(open_source(model))[0] == ["input", "input_1", "input_2"]
    vector = keras.Input((4,))
    model = keras.Model(vector, layers.Dense(2)(vector))
    assert names_of(open_source(model))[0] == ["input"]


def test_outputs_without_a_name_do_not_depend_on_what_was_built_before(tmp_path):
    """Nor on which process saved the model: Keras' own file keeps the numbers of that one."""
    found = []
    for _ in range(2):
        x = pooled(images := keras.Input((8, 8, 3), name="photo"))
        inner = keras.Sequential([keras.Input((3,)), layers.Dense(3), layers.Dense(4)])
        named = layers.Dense(2, name="dense_7th")(x)
        outputs = [layers.Dense(2)(x), layers.Dense(3)(x), keras.ops.softmax(x), named, inner(x)]
        model = keras.Model(images, outputs, name="n")
        model.save(tmp_path / "n.keras")
        found += [names_of(open_source(model)), names_of(open_source(tmp_path / "n.keras"))]
    expected = ["dense", "dense_1", "softmax", "dense_7th", "sequential"]
    assert [outputs for _, outputs in found] == [expected] * 4


def test_keys_that_look_numbered_stay():
    x = pooled(images := keras.Input((8, 8, 3), name="photo"))
    model = keras.Model(images, {"dense_3": layers.Dense(2)(x)})
    assert names_of(open_source(model))[1] == ["dense_3"]


def test_the_same_layer_called_twice_gives_two_names():
    images = keras.Input((8, 8, 3), name="photo")
    head = layers.Dense(3, name="head")
    x = pooled(images)
    model = keras.Model(images, [head(x), head(x * 2.0)])
    assert names_of(open_source(model))[1] == ["head", "head_1"]


def test_names_that_became_equal_are_told_apart():
    assert tell_apart(["a", "a", "b", "a", "a_1"]) == ("a", "a_1", "b", "a_2", "a_1_1")


@pytest.fixture
def three_heads() -> keras.Model:
    images = keras.Input((8, 8, 3), name="photo")
    x = pooled(images)
    return keras.Model(
        images, [layers.Dense(2, name=name)(x) for name in ("a", "b", "c")], name="n"
    )


def test_some_outputs_are_chosen_in_the_models_order(three_heads):
    assert names_of(open_source(three_heads, outputs=("c", "a")))[1] == ["a", "c"]
    assert names_of(open_source(three_heads, outputs=("all",)))[1] == ["a", "b", "c"]
    assert names_of(open_source(three_heads))[1] == ["a", "b", "c"]


def test_an_output_that_does_not_exist_is_refused_with_near_misses(three_heads):
    with pytest.raises(UnknownNameError, match=r"output of n.*bb"):
        open_source(three_heads, outputs=("bb",))
