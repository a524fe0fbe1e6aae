"""Pixels that are scaled twice, or not at all, are told before anybody believes a figure."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.base.statistics import PairedDrop
from edgevit.core.tensors import Preprocess
from edgevit.data.calibration import CalibrationSample
from edgevit.frontend.labels import use_labels
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.scaling import (
    CAP,
    SURELY,
    Scored,
    find_scaling_inside,
    score_pictures,
    suggest_scaling,
    warn_of_scaling,
)
from edgevit.layers.preprocessing import Preprocessing


def network(*front: keras.layers.Layer, name: str = "net") -> keras.Model:
    images = keras.Input((8, 8, 3), name="photo")
    x = images
    for layer in front:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))
    return keras.Model(images, layers.Dense(3, name="scores")(x), name=name)


def nested(layer: keras.layers.Layer) -> keras.Model:
    entry = keras.Input((8, 8, 3))
    return keras.Model(entry, layer(entry), name="front")


SCALED = [
    [layers.Rescaling(1 / 255)],
    [layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 1.0])],
    [layers.Resizing(12, 12), layers.RandomFlip(), layers.Rescaling(1 / 255)],
    [layers.BatchNormalization()],
    [nested(layers.Rescaling(1 / 255))],
]
KINDS = ["rescaling", "normalization", "behind augmentation", "batch normalization", "nested"]


@pytest.mark.parametrize("front", SCALED, ids=KINDS)
def test_pixels_that_are_scaled_twice_are_told(front):
    model = network(*front)
    (line,) = open_source(model, scaling="unit").warnings
    assert line.startswith("photo: the model scales its pixels itself (")
    assert "--scaling unit scales them before" in line
    assert "drop --scaling" in line


@pytest.mark.parametrize("front", SCALED, ids=KINDS)
def test_pixels_that_are_scaled_inside_alone_are_fine(front):
    assert open_source(network(*front)).warnings == ()
    assert open_source(network(*front), scaling="raw").warnings == ()


def test_arithmetic_before_the_first_layer_scales():
    images = keras.Input((8, 8, 3), name="photo")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(images / 255.0))
    model = keras.Model(images, layers.Dense(3)(x))
    assert open_source(model).warnings == ()
    assert len(open_source(model, scaling="unit").warnings) == 1
    assert find_scaling_inside(model, model.inputs[0])


def test_a_scaling_behind_a_layer_that_learnt_is_none_of_the_pixels():
    model = network(layers.Conv2D(3, 1), layers.Rescaling(0.5))
    assert find_scaling_inside(model, model.inputs[0]) == ""


def test_pixels_that_nothing_scales_are_told_unless_that_was_asked_for():
    (line,) = open_source(network()).warnings
    assert line.startswith("photo: nothing scales the pixels: the network gets 0..255.")
    assert "--scaling unit" in line
    assert open_source(network(), scaling="raw").warnings == ()
    assert open_source(network(), scaling="imagenet").warnings == ()


def test_caffes_scaling_is_that_of_vgg16_and_leaves_the_model_as_it_is():
    model = network()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    wanted = model(keras.applications.vgg16.preprocess_input(pictures.astype(np.float32)))
    source = open_source(model, scaling="caffe")
    np.testing.assert_allclose(float_outputs(source, pictures)["scores"], wanted, rtol=1e-4)
    again = model(keras.applications.vgg16.preprocess_input(pictures.astype(np.float32)))
    np.testing.assert_array_equal(again, wanted)


def test_our_own_preprocessing_in_front_is_a_scaling():
    contract = Preprocess((8, 8), (8, 8))
    assert open_source(network(), preprocess=contract).warnings == ()
    ours = open_source(network(Preprocessing.of(contract)))
    assert ours.warnings == ()
    (line,) = open_source(network(layers.Rescaling(1 / 255)), preprocess=contract).warnings
    assert "the preprocessing in front of it scales them before" in line


def test_every_picture_is_looked_at_and_nothing_else():
    photo, other = keras.Input((8, 8, 3), name="photo"), keras.Input((8, 8, 1), name="other")
    state = keras.Input((4,), name="state")
    first = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(photo))
    second = layers.GlobalAveragePooling2D()(other)
    x = layers.Concatenate()([first, second, state])
    source = open_source(keras.Model([photo, other, state], layers.Dense(2)(x)))
    assert [line.split(":")[0] for line in source.warnings] == ["other"]


# A classifier whose answer is known: the class is the third of 0..1 in which the brightness lies.


def brightness_classifier() -> keras.Model:
    images = keras.Input((4, 4, 3), name="photo")
    x = layers.Dense(3, name="scores")(layers.GlobalAveragePooling2D()(images))
    model = keras.Model(images, x, name="net")
    # -(x - c)^2 up to x^2, which all three share.
    centres = np.array([1 / 6, 1 / 2, 5 / 6])
    kernel = np.tile(2 * centres / 3, (3, 1))
    model.set_weights([kernel.astype(np.float32), -(centres**2).astype(np.float32)])
    return model


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(60) % 3
    levels = np.array([30, 128, 225])[labels] + np.arange(60) % 7
    return np.tile(levels[:, None, None, None], (1, 4, 4, 3)).astype(np.uint8), labels


def test_a_scaling_with_which_the_model_is_far_better_is_suggested(labelled):
    source = open_source(brightness_classifier(), scaling="raw")
    assert score_pictures(source, *labelled).share == pytest.approx(1 / 3)
    line = suggest_scaling(source, *labelled).line
    assert "right on 33 % of 60 labelled pictures, and on 100 % with --scaling unit" in line
    assert warn_of_scaling(source, *labelled).warnings == (line,)


def test_the_right_scaling_is_not_warned_of_even_where_the_graph_looked_wrong(labelled):
    source = open_source(brightness_classifier(), scaling="unit")
    assert score_pictures(source, *labelled).share == 1
    found = suggest_scaling(source, *labelled)
    assert (found.line, found.settled) == ("", True)
    assert warn_of_scaling(source, *labelled).warnings == ()


def test_a_model_that_is_no_better_than_guessing_is_told(labelled):
    pictures, labels = labelled
    wrong = (labels + 1) % 3  # an order of the class names that is not the model's
    source = open_source(brightness_classifier(), scaling="unit")
    (line,) = warn_of_scaling(source, pictures, wrong).warnings
    assert line.startswith("the float model is right on 0 % of 60 labelled pictures, no more than")
    assert "order of the class names" in line


def sample(names: tuple[str, ...], labels: np.ndarray | None) -> CalibrationSample:
    count = 6 if labels is None else len(labels)
    images = np.zeros((count, 4, 4, 3), np.uint8)
    return CalibrationSample({"photo": images}, "folder", "00", labels=labels, class_names=names)


def test_class_folders_give_names_to_classes_that_have_none():
    source = open_source(brightness_classifier(), scaling="unit")
    labels = np.array([0, 1, 2])
    named, found = use_labels(source, sample(("dark", "grey", "light"), labels))
    assert named.class_names == ("dark", "grey", "light")
    np.testing.assert_array_equal(found, labels)


def test_labels_are_put_into_the_models_own_numbers():
    names = ("light", "dark", "grey")
    source = open_source(brightness_classifier(), scaling="unit", class_names=names)
    same, found = use_labels(source, sample(("dark", "light"), np.array([0, 1, 1])))
    assert same.class_names == names
    np.testing.assert_array_equal(found, [1, 0, 0])


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")], ids=len)
def test_folders_of_other_classes_say_nothing(names):
    source = open_source(brightness_classifier(), scaling="unit")
    same, found = use_labels(source, sample(names, np.arange(len(names))))
    assert (same.class_names, found) == ((), None)
    known = open_source(brightness_classifier(), scaling="unit", class_names=("x", "y", "z"))
    assert use_labels(known, sample(names, np.arange(len(names))))[1] is None
    assert use_labels(source, sample((), None))[1] is None


def test_a_scaling_that_leaves_most_classes_as_they_are_is_told_by_what_it_makes_likely():
    right = np.arange(100) < 60
    sure = np.where(right, 0.3, 1.5)  # nats of cross entropy
    wrong = Scored(np.arange(100) < 55, np.where(right, 0.0, 18.0))
    assert PairedDrop.of(right.tolist(), wrong.right.tolist()).p_value > SURELY
    assert Scored(right, sure).beats(wrong)
    assert not Scored(right, sure).beats(Scored(right[::-1], sure[::-1]))  # no more are right
    assert not Scored(right, sure).beats(Scored(np.arange(100) < 55, sure + 0.1))  # by chance


def test_the_loss_of_a_sure_mistake_is_bounded(labelled):
    pictures, labels = labelled
    scored = score_pictures(open_source(brightness_classifier(), scaling="raw"), pictures, labels)
    assert scored.loss.max() <= CAP
    assert np.isfinite(scored.loss).all()
