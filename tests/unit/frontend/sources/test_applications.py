"""Models of keras.applications: the preprocessing of their publishers, and weights from files."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.base.errors import ModelFileError, UnknownNameError
from edgevit.core.golden_images import draw_images
from edgevit.core.tensors import SCALINGS
from edgevit.frontend.sources import application
from edgevit.frontend.sources.application import probe_pixels
from edgevit.frontend.sources.table import find_kind, load_source

MODULES = sorted(
    {
        value.__module__
        for value in vars(keras.applications).values()
        if callable(value) and hasattr(value, "__module__")
    }
)
NONE = Path("none")


@pytest.mark.parametrize("name", MODULES)
def test_what_preprocess_input_does_is_found_by_probing(name):
    module = sys.modules[name]
    pixels = probe_pixels(module)
    images = draw_images(3, (5, 4), seed=2).astype(np.float32)
    expected = module.preprocess_input(images.copy(), data_format="channels_last")
    found = images * np.array(pixels.scale) + np.array(pixels.offset)
    found = found[..., ::-1] if pixels.reversed else found
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_each_way_of_preprocessing_is_met():
    found = {name.rpartition(".")[2]: probe_pixels(sys.modules[name]) for name in MODULES}
    assert found["vgg16"].reversed
    assert not found["mobilenet_v2"].reversed
    signed = SCALINGS["signed"].of_channels(3)
    assert found["mobilenet_v2"].scale == pytest.approx(signed.scale)
    imagenet = SCALINGS["imagenet"].of_channels(3)
    assert found["densenet"].offset == pytest.approx(imagenet.offset)
    assert found["efficientnet"].scale == (1.0, 1.0, 1.0)


def small_vgg(weights=None, input_shape=(32, 32, 3), **rest):
    return keras.applications.VGG16(
        weights=weights, input_shape=input_shape, include_top=False, pooling="avg", **rest
    )


def test_a_network_of_b_g_r_takes_r_g_b(monkeypatch):
    small_vgg.__module__ = keras.applications.VGG16.__module__
    monkeypatch.setattr(application, "_find", lambda name: small_vgg)
    keras.utils.set_random_seed(3)
    original = small_vgg()
    keras.utils.set_random_seed(3)
    trained = load_source("keras.applications.VGG16", NONE)
    images = draw_images(2, (32, 32), seed=4)
    expected = original(keras.applications.vgg16.preprocess_input(images.astype(np.float32)))
    assert trained.preprocess.scale == (1.0, 1.0, 1.0)
    found = trained.network(trained.preprocess.apply(images))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def test_mobilenet_v3_gets_a_size_and_scales_inside(tmp_path):
    name = "keras.applications.MobileNetV3Small"
    trained = load_source(name, NONE)
    assert trained.name == "MobileNetV3Small"
    assert trained.network.inputs[0].shape == (None, 224, 224, 3)
    assert trained.preprocess.input_size == (224, 224)
    assert trained.preprocess.scale == (1.0, 1.0, 1.0)
    trained.network.save_weights(tmp_path / "mine.weights.h5")
    again = load_source(name, tmp_path / "mine.weights.h5")
    assert again.weights_sha256 == trained.weights_sha256


def test_weights_that_cannot_be_downloaded_say_what_to_give(monkeypatch):
    def fail(*arguments, **keywords):
        raise Exception("URL fetch failure on https://example.org: None -- no network")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    with pytest.raises(ModelFileError) as caught:
        load_source("keras.applications.MobileNetV2")
    message = str(caught.value)
    assert message.startswith("keras.applications.MobileNetV2: its imagenet weights are not on")
    assert "--weights FILE" in message
    assert "--weights none" in message
    assert "\n" not in message


def test_weights_of_another_application_are_refused(tmp_path):
    build = keras.applications.MobileNet
    model = build(weights=None, alpha=0.25, input_shape=(32, 32, 3), classes=2)
    model.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ModelFileError, match="another network"):
        load_source("keras.applications.MobileNet", tmp_path / "w.weights.h5")


def test_an_application_that_is_none_names_near_misses():
    assert find_kind("keras.applications.MobileNetV9").noun == "a model of keras.applications"
    with pytest.raises(UnknownNameError, match="MobileNetV2"):
        load_source("keras.applications.MobileNetV9", NONE)
    with pytest.raises(UnknownNameError, match="unknown model"):
        load_source("keras.applications.vgg16.preprocess_input", NONE)
