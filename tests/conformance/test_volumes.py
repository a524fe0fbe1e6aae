"""Layers over space and time arrive in every format: LiteRT pools no volumes, nor has it groups."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.formats.registry import open_session
from edgevit.verbs.export import export

CLIP = (4, 8, 8, 2)


def volumes() -> keras.Model:
    keras.utils.set_random_seed(6)
    clip = keras.Input(CLIP, name="clip")
    x = layers.Conv3D(4, 3, padding="same", activation="relu")(clip)
    x = layers.Conv3D(8, (2, 3, 3), groups=2, dilation_rate=(2, 1, 1), padding="same")(x)
    x = layers.MaxPooling3D(2)(x)
    x = layers.Conv3DTranspose(6, 3, 2, padding="same", activation="relu")(x)
    x = layers.AveragePooling3D((1, 2, 2), padding="same")(x)
    x = layers.AdaptiveMaxPooling3D((2, 3, 3))(x)
    many, few = layers.Flatten()(x), layers.GlobalMaxPooling3D()(x)
    return keras.Model(clip, layers.Dense(5)(layers.Concatenate()([many, few])), name="volumes")


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("tflite-float32", 1e-4),
        ("tflite-int8", 0.2),
        pytest.param("tflite-int8-micro", 0.2, marks=pytest.mark.long),
        pytest.param("tflite-int16x8", 0.1, marks=pytest.mark.long),
        pytest.param("tflite-mixed", 0.2, marks=pytest.mark.long),
        ("onnx-float32", 1e-4),
    ],
)
def test_layers_over_space_and_time_arrive(wanted, near, tmp_path):
    model, rng = volumes(), np.random.default_rng(1)
    clips = rng.integers(0, 256, (40, *CLIP), dtype=np.uint8)
    outcome = export(model, wanted, tmp_path, calibration=clips, scaling="unit", accept_loss=True)
    assert outcome.accepted, outcome.reports
    with open_session(outcome.artifact.path) as session:
        (found,) = session.run(clips[:8]).values()
    expected = np.asarray(model(clips[:8].astype(np.float32) / 255))
    assert np.abs(found - expected).mean() <= near * expected.std()
