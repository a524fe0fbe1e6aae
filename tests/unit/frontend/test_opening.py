"""From a model in memory to inputs with their preparation: what is asked for, what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.core.tensors import Preprocess
from edgevit.frontend.opening import open_source


def of_pictures(channels: int = 3, size: int = 8, classes: int = 3) -> keras.Model:
    images = keras.Input((size, size, channels), name="photo")
    x = layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, layers.Dense(classes, name="scores")(x), name="net")


def of_vectors() -> keras.Model:
    state = keras.Input((4,), name="state")
    return keras.Model(state, layers.Dense(2, name="out")(state), name="net")


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_pictures_of_any_channels_are_raw_pixels_by_default(channels):
    (spec,) = open_source(of_pictures(channels)).signature.inputs
    assert (spec.raw_dtype, spec.raw_shape) == ("uint8", (8, 8, channels))
    assert spec.preparation.scale == (1.0,) * channels
    assert spec.preparation.offset == (0.0,) * channels


def test_clips_are_pictures_frame_by_frame():
    clip = keras.Input((5, 8, 8, 3), name="clip")
    model = keras.Model(clip, layers.GlobalAveragePooling3D()(clip))
    (spec,) = open_source(model, scaling="signed", image_size=(20, 30)).signature.inputs
    assert (spec.raw_dtype, spec.raw_shape) == ("uint8", (5, 20, 30, 3))
    assert spec.preparation.offset == (-1.0,) * 3


def test_a_scaling_is_for_all_channels_or_refused():
    (spec,) = open_source(of_pictures(1), scaling="unit").signature.inputs
    assert spec.preparation.scale == (1 / 255,)
    with pytest.raises(ConfigError, match="pictures of 3 channels, and the model takes 1"):
        open_source(of_pictures(1), scaling="imagenet")
    with pytest.raises(UnknownNameError, match="imagenet"):
        open_source(of_pictures(), scaling="imagnet")


def test_a_contract_of_other_channels_is_refused():
    with pytest.raises(ConfigError, match=r"takes pictures of 1 channels.* is for 3"):
        open_source(of_pictures(1), preprocess=Preprocess((8, 8), (8, 8)))


@pytest.mark.parametrize("option", [{"scaling": "unit"}, {"image_size": (8, 8)}], ids=str)
def test_options_of_pictures_are_refused_where_there_is_none(option):
    flag = "--" + next(iter(option)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"takes no picture, so {flag} says nothing"):
        open_source(of_vectors(), **option)
    source = open_source(of_vectors())
    assert source.preprocess is None
    with pytest.raises(ConfigError, match="takes no picture"):
        assert source.picture_size


def test_raw_pictures_of_another_size_are_resized_inside():
    source = open_source(of_pictures(), image_size=(20, 30))
    assert source.picture_size == (20, 30)
    (spec,) = source.signature.inputs
    assert (spec.shape, spec.raw_shape) == ((None, 8, 8, 3), (20, 30, 3))
    pictures = np.full((2, 20, 30, 3), 7, np.uint8)
    (prepared,) = source.prepare({"photo": pictures})
    assert prepared.shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    ("classes", "names", "fits"),
    [(3, "abc", True), (3, "ab", False), (1, "ab", True), (1, "a", True), (1, "abc", False)],
)
def test_class_names_are_as_many_as_classes_or_two_for_yes_and_no(classes, names, fits):
    model = of_pictures(classes=classes)
    if fits:
        assert open_source(model, class_names=tuple(names)).class_names == tuple(names)
    else:
        with pytest.raises(ConfigError, match=f"net: {len(names)} class names for {classes} "):
            open_source(model, class_names=tuple(names))


def test_a_task_that_no_output_can_be_about_is_refused():
    assert open_source(of_pictures(), task="embedding").signature.outputs[0].role == "embedding"
    with pytest.raises(ConfigError, match="--task segmentation: none of the outputs"):
        open_source(of_pictures(), task="segmentation")
    with pytest.raises(UnknownNameError, match="segmentation"):
        open_source(of_pictures(), task="segmentaton")
