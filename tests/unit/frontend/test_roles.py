"""What the outputs of a Keras model mean: told by its graph, its names, its losses, its values."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.core.signature import Activation, OutputSpec, Role, Signature
from edgevit.frontend.opening import open_source
from edgevit.frontend.roles import refine_roles

LINEAR, SOFTMAX, SIGMOID = Activation.LINEAR, Activation.SOFTMAX, Activation.SIGMOID


def picture(size: int = 8, channels: int = 3):
    return keras.Input((size, size, channels), name="photo")


def features(images):
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(images))


def only_output(images, x) -> OutputSpec:
    (found,) = open_source(keras.Model(images, x, name="net")).signature.outputs
    return found


def inner_softmax(x):
    entry = keras.Input(x.shape[1:])
    return keras.Model(entry, layers.Dense(5, activation="softmax")(entry), name="inner")(x)


def twice_nested(x):
    entry = keras.Input(x.shape[1:])
    return keras.Model(entry, inner_softmax(entry), name="outer")(x)


@pytest.mark.parametrize(
    ("ending", "activation"),
    [
        (lambda x: layers.Softmax()(layers.Dense(5)(x)), SOFTMAX),
        (lambda x: layers.Dense(5, activation="softmax")(x), SOFTMAX),
        (lambda x: layers.Activation("softmax")(layers.Dense(5)(x)), SOFTMAX),
        (lambda x: keras.ops.softmax(layers.Dense(5)(x)), SOFTMAX),
        (inner_softmax, SOFTMAX),
        (twice_nested, SOFTMAX),
        (lambda x: layers.Flatten()(inner_softmax(x)), SOFTMAX),
        (lambda x: layers.Reshape((5,))(layers.Dense(5, activation="softmax")(x)), SOFTMAX),
        (lambda x: layers.Dropout(0.5)(layers.Dense(5, activation="softmax")(x)), SOFTMAX),
        (
            lambda x: layers.Activation("linear", dtype="float32")(
                layers.Dense(5, activation="softmax")(x)
            ),
            SOFTMAX,
        ),
        (lambda x: layers.Dense(5, activation="sigmoid")(x), SIGMOID),
        (lambda x: layers.Dense(1, activation="sigmoid")(x), SIGMOID),
        (lambda x: layers.Activation("sigmoid")(layers.Dense(5)(x)), SIGMOID),
        (lambda x: keras.ops.sigmoid(layers.Dense(5)(x)), SIGMOID),
    ],
    ids=[
        "layer", "dense", "activation", "operation", "nested", "nested twice", "flatten",
        "reshape", "dropout", "float32", "sigmoid", "one sigmoid", "sigmoid activation",
        "sigmoid operation",
    ],
)  # fmt: skip
def test_an_activation_at_the_end_makes_probabilities(ending, activation):
    images = picture()
    found = only_output(images, ending(features(images)))
    assert (found.role, found.activation) == (Role.PROBABILITIES, activation)


def test_a_softmax_before_another_layer_is_no_activation_of_the_output():
    images = picture()
    x = layers.Dense(5)(layers.Dense(5, activation="softmax")(features(images)))
    found = only_output(images, x)
    assert (found.role, found.activation) == (Role.LOGITS, LINEAR)


def test_a_softmax_over_positions_that_became_a_grid_tells_no_classes_apart():
    images = picture()
    shares = layers.Dense(16, activation="softmax")(features(images))
    found = only_output(images, layers.Reshape((4, 4))(shares))
    assert (found.role, found.activation) == (Role.MAP, LINEAR)
    found = only_output(images, layers.Reshape((1, 16))(shares))
    assert (found.role, found.activation) == (Role.PROBABILITIES, SOFTMAX)


@pytest.mark.parametrize("shape", [(2, 16, 16), (16, 16), (16,)], ids=len)
def test_attention_is_a_map_whatever_it_ends_in(shape):
    images = picture()
    x = layers.Dense(int(np.prod(shape)), name="weights")(features(images))
    x = layers.Softmax(name="attention")(layers.Reshape(shape)(x))
    assert only_output(images, x).role is Role.MAP


def test_rows_without_a_hint_are_scores_of_classes_and_a_number_is_a_value():
    images = picture()
    x = features(images)
    assert only_output(images, layers.Dense(5, name="head")(x)).role is Role.LOGITS
    assert only_output(images, layers.Dense(1, name="head")(x)).role is Role.VALUES
    assert only_output(images, layers.Dense(5, "relu", name="head")(x)).role is Role.LOGITS


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("box_regression", Role.VALUES),
        ("landmarks", Role.VALUES),
        ("age", Role.VALUES),
        ("embedding", Role.EMBEDDING),
        ("class_scores", Role.LOGITS),
    ],
)
def test_an_output_is_what_its_name_says(name, role):
    images = picture()
    assert only_output(images, layers.Dense(4, name=name)(features(images))).role is role


def test_values_that_end_in_a_sigmoid_stay_values_where_the_name_says_so():
    images = picture()
    x = layers.Dense(4, activation="sigmoid", name="boxes")(features(images))
    found = only_output(images, x)
    assert (found.role, found.activation) == (Role.VALUES, SIGMOID)


def test_unit_vectors_are_an_embedding():
    images = picture()
    assert only_output(images, layers.UnitNormalization()(features(images))).role is Role.EMBEDDING


@pytest.mark.parametrize(
    ("loss", "role"),
    [
        ("mse", Role.VALUES),
        (keras.losses.Huber(), Role.VALUES),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), Role.LOGITS),
        ("binary_crossentropy", Role.LOGITS),
        (keras.losses.CosineSimilarity(), Role.EMBEDDING),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_a_loss_says_what_an_output_is(loss, role):
    images = picture()
    model = keras.Model(images, layers.Dense(4, name="age_embedding")(features(images)))
    model.compile(loss=loss)
    (found,) = open_source(model).signature.outputs
    assert found.role is role


def test_each_of_several_outputs_has_its_own_loss():
    images = picture()
    x = features(images)
    outputs = {"a": layers.Dense(4)(x), "b": layers.Dense(4)(x)}
    model = keras.Model(images, outputs)
    model.compile(loss={"a": "mse", "b": "categorical_crossentropy"})
    roles = {output.name: output.role for output in open_source(model).signature.outputs}
    assert roles == {"a": Role.VALUES, "b": Role.LOGITS}


@pytest.mark.parametrize(
    ("classes", "activation", "name", "role"),
    [
        (5, "softmax", "head", Role.MASK),
        (5, None, "head", Role.MASK),
        (1, "sigmoid", "head", Role.MASK),
        (1, None, "head", Role.MAP),
        (1, None, "mask", Role.MASK),
        (3, "sigmoid", "head", Role.MAP),  # a picture like the input: an autoencoder's
        (3, None, "head", Role.MAP),
        (3, None, "segmentation", Role.MASK),
        (5, None, "depth", Role.MAP),
    ],
)
def test_a_map_of_the_pictures_size_is_a_mask_unless_it_is_a_picture(
    classes, activation, name, role
):
    images = picture()
    x = layers.Conv2D(classes, 3, padding="same", activation=activation, name=name)(images)
    assert only_output(images, x).role is role


def test_a_smaller_map_is_a_mask_only_where_it_tells_classes_apart():
    images = picture()
    x = layers.Conv2D(5, 3, strides=2, padding="same")(images)
    assert only_output(images, x).role is Role.MAP
    assert only_output(images, layers.Softmax()(x)).role is Role.MASK
    assert only_output(images, layers.Softmax(axis=1)(x)).role is Role.MAP


def test_integers_are_labels():
    images = picture()
    found = only_output(images, keras.ops.argmax(layers.Dense(5)(features(images)), axis=-1))
    assert found.role is Role.LABELS
    assert "int" in found.dtype


def refined(values: np.ndarray, role: Role = Role.LOGITS, name: str = "head") -> OutputSpec:
    shape = (None, *values.shape[1:])
    spec = OutputSpec(name, shape, "float32", role)
    (found,) = refine_roles(Signature((), (spec,)), {name: values}).outputs
    return found


RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(32, 6)).astype(np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values)
    return weights / weights.sum(axis=-1, keepdims=True)


def test_rows_that_sum_to_one_are_probabilities():
    found = refined(softmax(SCORES))
    assert (found.role, found.activation) == (Role.PROBABILITIES, SOFTMAX)
    assert refined(softmax(SCORES), name="logits").role is Role.PROBABILITIES


def test_numbers_between_0_and_1_are_probabilities_of_several_classes():
    found = refined(1 / (1 + np.exp(-SCORES)))
    assert (found.role, found.activation) == (Role.PROBABILITIES, SIGMOID)


def test_rows_of_unit_length_are_an_embedding():
    assert refined(SCORES / np.linalg.norm(SCORES, axis=-1, keepdims=True)).role is Role.EMBEDDING


def test_columns_of_very_different_deviation_are_values_of_several_units():
    assert refined(SCORES * [1, 1, 1, 1, 1, 100]).role is Role.VALUES
    assert refined(SCORES * [1, 1, 1, 1, 1, 0.01]).role is Role.VALUES
    assert refined(SCORES * [1, 1, 1, 1, 1, 4]).role is Role.LOGITS


def test_scores_without_a_sign_of_anything_else_stay_scores():
    assert refined(SCORES).role is Role.LOGITS
    assert refined(SCORES[:4] * [1, 1, 1, 1, 1, 100]).role is Role.LOGITS  # too few to tell


def test_what_the_graph_said_is_not_doubted():
    assert refined(softmax(SCORES), Role.VALUES).role is Role.VALUES
    assert refined(SCORES * [1, 1, 1, 1, 1, 100], name="logits").role is Role.LOGITS


def test_a_map_whose_channels_sum_to_one_is_a_mask():
    maps = softmax(RNG.normal(size=(4, 3, 3, 5)))
    assert refined(maps, Role.MAP).role is Role.MASK
    assert refined(maps * 1.1, Role.MAP).role is Role.MAP
    assert refined(maps, Role.MAP, name="attention").role is Role.MAP


def test_a_task_that_was_asked_for_says_what_an_output_is():
    images = picture()
    model = keras.Model(images, layers.Dense(5, name="head")(features(images)), name="net")
    source = open_source(model, task="regression")
    assert source.task == "regression"
    assert source.signature.outputs[0].role is Role.VALUES
    assert open_source(model).task == "classification"


@pytest.mark.parametrize(("width", "role"), [(16, Role.VALUES), (15, Role.LOGITS)])
def test_an_autoencoder_gives_back_what_it_gets(width, role):
    machine = keras.Input((16,), name="machine")
    x = layers.Dense(4, activation="relu")(machine)
    assert only_output(machine, layers.Dense(width, name="restored")(x)).role is role
