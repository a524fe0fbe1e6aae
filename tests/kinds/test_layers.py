"""Every layer of Keras arrives at every target, or is refused with a line."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest

from edgevit.formats.registry import TARGETS
from helpers.cells import each_pair
from kinds import layers_zoo
from kinds.trial import State, try_target
from kinds.zoo import KINDS, LAYERS, NETWORKS, ZOO

RESULT = Path(__file__).parents[2] / "benchmarks" / "layers.json"
# What is tried by default; everything is in the long suite.
QUICK = (
    ("layer_conv3d", "tflite-int8"),  # as frames; its bias goes through a reshape
    ("layer_multiheadattention_causal", "tflite-int8"),  # a mask as a bound
    ("layer_elu", "tflite-int16x8"),  # a table of int16
    ("layer_celu_activation", "onnx-float32"),
)


@pytest.mark.parametrize(("layer", "target"), each_pair(LAYERS, QUICK))
def test_a_layer_arrives_at_a_target_as_the_table_says(layer, target, tmp_path):
    recorded = json.loads(RESULT.read_text())["cells"].get(f"{layer} {target}", {})
    trial = try_target(layer, TARGETS[target], tmp_path)
    if recorded.get("state") == State.RIGHT:
        assert trial.state is State.RIGHT, trial.text
    else:
        assert trial.state in (State.RIGHT, State.LOSSY, State.REFUSED), trial.text


def test_every_layer_of_keras_is_in_a_row_or_set_aside_with_a_reason():
    shown: set[type] = set()
    names = {name for name in vars(keras.layers) if name[0].isupper()}
    for name in names & {*layers_zoo.SHOWN, *layers_zoo.SET_ASIDE}:
        shown.add(getattr(keras.layers, name))
    missing = {
        name
        for name in names
        if isinstance(kind := getattr(keras.layers, name), type)
        and issubclass(kind, keras.layers.Layer)
        and kind not in shown
    }
    assert missing == set()


def test_every_activation_of_keras_is_in_a_row():
    names = {name for name in vars(keras.activations) if name[0].islower()}
    functions = {getattr(keras.activations, name).__name__ for name in names}
    assert functions - {"serialize", "deserialize", "get"} <= layers_zoo.SHOWN


def test_no_two_models_of_the_zoo_have_one_name():
    assert len(ZOO) == len(KINDS) + len(LAYERS) + len(NETWORKS)


def test_every_quick_pair_is_a_layer_and_a_target():
    assert all(layer in LAYERS and target in TARGETS for layer, target in QUICK)
