"""Layers that hold tensors which are no variables, or call a function, arrive in ONNX."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.core.golden_images import draw_images
from edgevit.core.parity import Verdict
from edgevit.formats.registry import open_session
from edgevit.verbs.export import export


def adapted_normalization() -> keras.Model:
    images = keras.Input((8, 8, 3), name="photo")
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(90, 40, (64, 8, 8, 3)))
    x = layers.Conv2D(4, 3)(normalization(images))
    return keras.Model(images, layers.Dense(3)(layers.Flatten()(x)), name="normalized")


def grouped_convolution() -> keras.Model:
    images = keras.Input((8, 8, 4), name="photo")
    x = layers.Conv2D(8, 3, groups=4)(layers.Rescaling(1 / 255)(images))
    return keras.Model(images, layers.Dense(3)(layers.Flatten()(x)), name="grouped")


@pytest.mark.parametrize("build", [adapted_normalization, grouped_convolution])
def test_the_layer_arrives_in_onnx(build, tmp_path):
    keras.utils.set_random_seed(4)
    outcome = export(build(), "onnx-float32", tmp_path, scaling="raw")
    assert outcome.verdict is Verdict.PASS
    assert [spec.name for spec in outcome.artifact.manifest.inputs] == ["photo"]


def one_tensor_under_three_names() -> keras.Model:
    """Handed out again as it is, through a layer that inference leaves out, and computed anew."""
    images = keras.Input((8, 8, 3), name="photo")
    feature = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(images))
    head, flat = layers.Dense(3, name="head"), layers.Flatten()(feature)
    scores = head(flat)
    outputs = {
        "same": scores,
        "dropped": layers.Dropout(0.5)(scores),
        "feature": feature,
        "anew": head(flat),
        "scores": scores,
    }
    return keras.Model(images, outputs, name="thrice")


@pytest.mark.parametrize(
    ("wanted", "batch"),
    [
        ("tflite-float32", 1),
        ("tflite-float32", None),
        ("tflite-int8", 1),
        pytest.param("tflite-int16x8", 1, marks=pytest.mark.long),
        pytest.param("tflite-dynamic", 1, marks=pytest.mark.long),
        ("onnx-float32", None),
        pytest.param("onnx-float16", 1, marks=pytest.mark.long),
        ("onnx-int8", 1),
    ],
)
def test_a_tensor_is_handed_out_under_all_of_its_names(wanted, batch, tmp_path):
    """Converters merge what is equal, and would hand it out once."""
    keras.utils.set_random_seed(4)
    model = one_tensor_under_three_names()
    photos = draw_images(40, (8, 8), seed=2)
    options = {"calibration": photos, "batch": batch, "scaling": "raw"}
    outcome = export(model, wanted, tmp_path, keep_failed=True, accept_loss=True, **options)
    assert outcome.accepted, outcome.reports
    with open_session(outcome.artifact.path) as session:
        names = [spec.name for spec in session.outputs]
        found = session.run(photos[:6])
    assert names == list(found) == ["same", "dropped", "feature", "anew", "scores"]
    for name in ("same", "dropped", "anew"):
        np.testing.assert_array_equal(found[name], found["scores"])
    expected = np.asarray(model(photos[:6].astype(np.float32))["scores"])
    assert np.abs(found["same"] - expected).mean() < 0.2 * expected.std()


def test_an_elu_arrives_in_every_kernel_set_of_litert(tmp_path):
    keras.utils.set_random_seed(4)
    images = keras.Input((8, 8, 3), name="photo")
    x = layers.Conv2D(4, 3, activation="elu")(layers.Rescaling(1 / 127.5, -1)(images))
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(layers.ELU(0.5)(x))), name="elus")
    outcome = export(model, "tflite-float32", tmp_path)
    assert outcome.verdict is Verdict.PASS
    assert {report.runtime for report in outcome.reports} == {"litert-xnnpack", "litert-reference"}
