"""Kept outputs of a float model stand in for it only where nothing can have changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.base.store import Store
from edgevit.frontend import record_reference as module
from edgevit.frontend.kept_outputs import name_outputs
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import record_samples


@keras.saving.register_keras_serializable("test_kept_outputs")
class Own(layers.Layer):
    """Somebody's own."""

    def call(self, x):
        return x


@keras.saving.register_keras_serializable("test_kept_outputs")
class Twice(keras.Operation):
    """Somebody's own operation between layers."""

    def call(self, x):
        return x * 2

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def source_of(activation: str = "relu", extra: keras.Operation | None = None):
    keras.utils.set_random_seed(3)
    keras.backend.clear_session()
    photo = keras.Input((8, 8, 3), name="photo")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation=activation)(photo))
    x = extra(x) if extra else x
    return open_source(keras.Model(photo, layers.Dense(5)(x)), scaling="unit")


GIVEN = {"photo": np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)}


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """How often the float model was run on all inputs."""
    found = []
    own = module.float_outputs
    monkeypatch.setattr(module, "float_outputs", lambda *a: found.append(1) or own(*a))
    return found


def test_a_second_recording_is_read_and_has_the_same_bits(tmp_path, runs):
    store = Store(tmp_path)
    first = record_samples(source_of(), GIVEN, store=store)
    (name,) = first.outputs
    second = record_samples(source_of(), GIVEN, {name: 4}, store=store)
    assert len(runs) == 1
    assert np.array_equal(first.outputs[name][:4], second.outputs[name])


def test_other_layers_weights_or_inputs_have_another_key(monkeypatch):
    key = name_outputs(source_of(), GIVEN)
    changed = source_of()
    kernel = changed.network.weights[0]
    kernel.assign(kernel * 2)
    keys = [
        name_outputs(source_of("tanh"), GIVEN),
        name_outputs(source_of(), {"photo": GIVEN["photo"][::-1]}),
        name_outputs(open_source(changed.network, scaling="unit"), GIVEN),
    ]
    assert key == name_outputs(source_of(), GIVEN)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "7")
    assert len({key, *keys, name_outputs(source_of(), GIVEN)}) == 5


@pytest.mark.parametrize("layer", [Own(), Twice(), layers.Lambda(lambda x: x)])
def test_a_network_with_somebodys_own_code_is_not_kept(layer):
    assert name_outputs(source_of(extra=layer), GIVEN) is None


def test_outputs_that_the_model_does_not_return_are_recorded_anew(tmp_path, runs):
    store, source = Store(tmp_path), source_of()
    expected = record_samples(source, GIVEN, store=store)
    key = name_outputs(source, GIVEN)
    store.write(key, {name: values * 1.001 for name, values in expected.outputs.items()})
    found = record_samples(source, GIVEN, store=store)
    assert len(runs) == 2
    assert all(np.array_equal(found.outputs[n], v) for n, v in expected.outputs.items())
