"""Networks of keras-hub: files of its classifiers open, and arrive as they were."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edgevit.formats.registry import TARGETS, open_session
from kinds import hub_zoo
from kinds.trial import State, try_target

# Once refused, or failed wrongly; benchmarks/kinds_table.py --table networks tries all.
HARD = (
    ("hub_swin", "tflite-int8"),
    ("hub_csp_resnext", "tflite-int8"),
    ("hub_mobilenetv5", "tflite-int8"),
)


@pytest.fixture(scope="module")
def hub():
    pytest.importorskip("keras_hub", reason="pip install 'edgevit[hub]'")


@pytest.fixture(scope="module")
def classifier(hub):
    """A classifier with the preprocessor that from_preset() would give it, its weights seeded."""
    import keras
    from keras_hub import layers, models

    keras.utils.set_random_seed(3)
    converter = layers.MobileNetImageConverter(
        image_size=(hub_zoo.SIDE, hub_zoo.SIDE), scale=1 / 127.5, offset=-1.0
    )
    preprocessor = models.MobileNetImageClassifierPreprocessor(converter)
    model = models.MobileNetImageClassifier(
        backbone=models.MobileNetBackbone(**hub_zoo.MOBILENET_V3),
        num_classes=hub_zoo.CLASSES,
        preprocessor=preprocessor,
    )
    for weight in model.weights:
        weight.assign(weight * (1.7 if weight.path.endswith("kernel") else 1.0))
    return model


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "mine.keras"
    classifier.save(path)
    return path


@pytest.mark.long
def test_a_saved_classifier_is_exported_by_name_and_takes_the_pixels_that_it_took(
    classifier, saved, tmp_path
):
    command = [sys.executable, "-m", "edgevit", "export", saved, "--format", "onnx-float32"]
    subprocess.run([*command, "--out", tmp_path], check=True)  # has not imported keras-hub
    pixels = hub_zoo.KINDS[0].draw(8, seed=3)["images"]
    wanted = classifier.predict(pixels, verbose=0)
    with open_session(tmp_path / "mine-onnx-float32.onnx") as session:
        found = session.run(pixels)["predictions"]
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "row"), HARD)
def test_a_network_that_was_hard_arrives(hub, kind, row, tmp_path):
    trial = try_target(kind, TARGETS[row], tmp_path)
    assert trial.state in (State.RIGHT, State.LOSSY), trial.text
