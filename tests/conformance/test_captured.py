"""Layers that hold tensors which are no variables, or call a function, arrive in ONNX."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.base.errors import ExportError
from edgevit.core.parity import Verdict
from edgevit.frontend.opening import open_source
from edgevit.frontend.trace import refuse_lost
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


def test_an_output_that_a_converter_merged_with_another_is_told():
    images = keras.Input((8, 8, 3), name="photo")
    x = layers.Dense(3, name="scores")(layers.Flatten()(images))
    model = keras.Model(images, {"scores": x, "again": layers.Dropout(0.5)(x)}, name="twice")
    source = open_source(model, scaling="raw")
    refuse_lost(source, ["again", "scores"])
    with pytest.raises(ExportError, match=r"'again' is the same tensor as another one \(scores\)"):
        refuse_lost(source, ["scores"])


def test_an_elu_arrives_in_every_kernel_set_of_litert(tmp_path):
    keras.utils.set_random_seed(4)
    images = keras.Input((8, 8, 3), name="photo")
    x = layers.Conv2D(4, 3, activation="elu")(layers.Rescaling(1 / 127.5, -1)(images))
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(layers.ELU(0.5)(x))), name="elus")
    outcome = export(model, "tflite-float32", tmp_path)
    assert outcome.verdict is Verdict.PASS
    assert {report.runtime for report in outcome.reports} == {"litert-xnnpack", "litert-reference"}
