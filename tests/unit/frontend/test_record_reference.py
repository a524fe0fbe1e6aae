"""The float model's outputs on golden inputs, and on the user's own samples."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from edgevit.base.errors import ExportError
from edgevit.core.golden_inputs import Draw, draw_inputs
from edgevit.core.reference import COUNT, FEW
from edgevit.core.signature import Role
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import (
    LEAST,
    float_outputs,
    record_reference,
    refine_source,
)
from edgevit.frontend.source import Source


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A grey picture, a vector and a word to a sum, a large map and scores."""
    keras.utils.set_random_seed(2)
    photo = keras.Input((8, 6, 1), name="photo")
    state = keras.Input((3,), name="state")
    word = keras.Input((2,), dtype="int32", name="word")
    x = layers.GlobalAveragePooling2D()(photo)
    known = layers.Flatten()(layers.Embedding(9, 2)(word))
    x = layers.Concatenate()([x, state, known])
    outputs = {
        "scores": layers.Dense(4)(x),
        "map": layers.UpSampling2D(8)(layers.Conv2D(2, 3, padding="same")(photo)),
    }
    return keras.Model([photo, state, word], outputs, name="several")


@pytest.fixture(scope="module")
def source(model) -> Source:
    return open_source(model, scaling="unit")


def inputs_of(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "photo": rng.integers(0, 256, (count, 8, 6, 1)).astype(np.uint8),
        "state": rng.normal(size=(count, 3)).astype(np.float32),
        "word": rng.integers(0, 9, (count, 2)).astype(np.int32),
    }


@pytest.mark.parametrize("count", [1, 32, 33, 70])
def test_outputs_are_those_of_the_network_on_prepared_pixels(model, source, count):
    given = inputs_of(count)
    found = float_outputs(source, given)
    assert list(found) == ["scores", "map"]
    entering = [given["photo"].astype(np.float32) / 255, given["state"], given["word"]]
    for name, tensor in model(entering).items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], np.asarray(tensor), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "batches"), [(8, [32, 8]), (224, [16, 16, 8])])
def test_large_samples_run_in_smaller_batches_for_the_memory(monkeypatch, side, batches):
    images = keras.Input((side, side, 3), name="photo")
    mean = open_source(keras.Model(images, layers.GlobalAveragePooling2D(name="mean")(images)))
    call, ran = Source.call, []

    def watched(self: Source, entering):
        ran.append(len(entering[0]))
        return call(self, entering)

    monkeypatch.setattr(Source, "call", watched)
    float_outputs(mean, np.zeros((40, side, side, 3), np.uint8))
    assert ran == batches


def test_the_only_input_may_come_without_its_name():
    images = keras.Input((4, 4, 3), name="photo")
    only = open_source(keras.Model(images, layers.GlobalAveragePooling2D(name="mean")(images)))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    alone, named = float_outputs(only, pictures), float_outputs(only, {"photo": pictures})
    np.testing.assert_array_equal(alone["mean"], named["mean"])


def test_golden_inputs_are_drawn_for_every_input_and_large_outputs_recorded_on_few(source):
    found = record_reference(source, seed=3)
    assert found.draws == {
        "photo": Draw((8, 6, 1), "uint8", picture=True),
        "state": Draw((3,), "float32"),
        "word": Draw((2,), "int32", levels=9),
    }
    assert (len(found.synthetic), found.seed, found.own) == (COUNT, 3, None)
    drawn = draw_inputs(found.draws, COUNT, 3)
    for name, values in drawn.items():
        np.testing.assert_array_equal(found.synthetic.inputs[name], values)
    sizes = {name: len(values) for name, values in found.synthetic.outputs.items()}
    few = 512 * 1024 // (64 * 48 * 2 * 4)  # bytes of one map
    assert sizes == {"scores": COUNT, "map": min(FEW, few)}


def test_large_inputs_are_fewer():
    images = keras.Input((128, 128, 3), name="photo")
    large = open_source(keras.Model(images, layers.GlobalAveragePooling2D()(images)))
    assert len(record_reference(large).synthetic) == LEAST
    assert len(record_reference(large, count=5).synthetic) == 5


def test_the_users_own_samples_are_recorded_with_their_labels(source):
    own, labels = inputs_of(7), np.arange(7)
    found = record_reference(source, own=own, labels=labels)
    np.testing.assert_array_equal(found.own.inputs["photo"], own["photo"])
    np.testing.assert_array_equal(found.own.labels, labels)
    expected = float_outputs(source, own)["scores"]
    np.testing.assert_allclose(found.own.outputs["scores"], expected, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused(value):
    images = keras.Input((4, 4, 3), name="photo")
    head = layers.Dense(2, name="head")
    model = keras.Model(images, head(layers.GlobalAveragePooling2D()(images)), name="broken")
    broken = open_source(model)
    head.set_weights([np.full((3, 2), value, np.float32), np.zeros(2, np.float32)])
    with pytest.raises(ExportError, match="broken: the float model itself returns NaN"):
        record_reference(broken)


def test_what_the_values_say_of_a_role_counts_unless_the_task_was_asked_for():
    """A subclassed model hides its softmax from the graph."""
    images = keras.Input((4, 4, 3), name="photo")
    hidden = open_source(keras.Model(images, Hidden(name="head")(images), name="net"))
    assert hidden.signature.outputs[0].role is Role.LOGITS
    reference = record_reference(hidden)
    assert refine_source(hidden, reference, asked=False).signature.outputs[0].role is (
        Role.PROBABILITIES
    )
    assert refine_source(hidden, reference, asked=True) is hidden


class Hidden(layers.Layer):
    """Probabilities of four classes that no layer's name tells."""

    def call(self, images):
        means = keras.ops.mean(images, axis=(1, 2))
        scores = keras.ops.concatenate([means, 100.0 - means[:, :1]], axis=-1) / 50.0
        return keras.ops.softmax(scores, axis=-1)


def test_columns_of_very_different_units_are_values():
    images = keras.Input((4, 4, 3), name="photo")
    head = layers.Dense(4, name="head")
    model = keras.Model(images, head(layers.GlobalAveragePooling2D()(images)), name="net")
    kernel = np.random.default_rng(0).normal(size=(3, 4)) * [1, 1, 1, 1000]
    head.set_weights([kernel.astype(np.float32), np.zeros(4, np.float32)])
    plain = open_source(model)
    assert plain.task == "classification"
    refined = refine_source(plain, record_reference(plain), asked=False)
    assert (refined.task, refined.signature.outputs[0].role) == ("regression", Role.VALUES)
    assert replace(refined, task=plain.task, signature=plain.signature) == plain
