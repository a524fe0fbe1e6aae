"""Layers that hold tensors which are no variables, or call a function, arrive in ONNX."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.core.parity import Verdict
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
