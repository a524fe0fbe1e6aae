"""Recipes shortened to a time, and what a precision changes."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.models.build import plan_model
from edgevit.training import pace
from edgevit.training.loop import compile_model
from edgevit.training.precision import PRECISIONS
from edgevit.training.recipe import Phase, Recipe, find_recipe

SIZES = {"image_size": 16, "dim": 48, "num_div": 12, "depths": (1,), "num_classes": 3}
PLAN = plan_model("shiftvit", input_size=(16, 16), **SIZES)
RECIPE = Recipe("test", epochs=20, batch_size=10, resolutions=((0, 16), (15, 32)))


@pytest.fixture
def steps(monkeypatch):
    """A machine whose steps take a second at 16 pixels and four at 32; the sizes that it timed."""
    timed = []

    def time_step(plan, recipe, phase, precision="float32"):
        timed.append(phase.image_size)
        return (phase.image_size / 16) ** 2, 3.0

    monkeypatch.setattr(pace, "time_step", time_step)
    return timed


def test_a_shorter_recipe_keeps_its_proportions():
    short = RECIPE.shortened(8)
    assert (short.epochs, short.resolutions) == (8, ((0, 16), (6, 32)))
    assert short.warmup_epochs == pytest.approx(0.6)
    assert RECIPE.shortened(1).phases(16) == [Phase(0, 1, 32, RECIPE.config)]
    assert RECIPE.shortened(20) == RECIPE
    for recipe in (find_recipe("cpu-progressive"), find_recipe("gpu-long")):
        for epochs in range(1, recipe.epochs):
            assert recipe.shortened(epochs).phases(48)[-1].end == epochs


def test_as_many_epochs_fit_as_their_steps_take(steps, tmp_path):
    # 100 images are 10 steps: 15 epochs of 10 s, 5 of 40 s, so 17.5 s on average. To compile for
    # both sizes takes 6 s.
    found = pace.shorten_recipe(RECIPE, PLAN, 100, minutes=3, folder=tmp_path)
    assert found == RECIPE.shortened(int(0.9 * 174 / 17.5))
    assert steps == [16, 32]
    assert pace.shorten_recipe(RECIPE, PLAN, 100, 60, tmp_path) == RECIPE


def test_no_time_for_one_epoch_is_refused(steps, tmp_path):
    with pytest.raises(ConfigError, match="none fits"):
        pace.shorten_recipe(RECIPE, PLAN, 100, 0.1, tmp_path)


def test_a_run_that_was_begun_keeps_its_epochs(steps, tmp_path):
    state = {"epoch": 2, "identity": {"recipe": {"epochs": 7}}, "log": []}
    np.savez(tmp_path / "checkpoint.npz", state=json.dumps(state), other=np.zeros(1))
    assert pace.shorten_recipe(RECIPE, PLAN, 100, 1, tmp_path) == RECIPE.shortened(7)
    assert steps == []


def test_a_step_takes_time():
    step, ready = pace.time_step(PLAN, RECIPE, RECIPE.phases(16)[0])
    assert 0 < step < ready < 120


def test_bfloat16_is_for_the_products_alone():
    usual = keras.config.dtype_policy()
    model = compile_model(PLAN, RECIPE, RECIPE.phases(16)[0], 10, "bfloat16")
    assert keras.config.dtype_policy() == usual
    policies = {layer.compute_dtype for layer in model._flatten_layers() if layer.weights}
    assert policies == {"bfloat16"}
    assert {variable.dtype for variable in model.weights} == {"float32"}
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    targets = np.eye(3, dtype=np.float32)[np.arange(10) % 3]
    losses = [float(np.ravel(model.train_on_batch(images, targets))[0]) for _ in range(12)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_every_precision_is_a_policy_of_keras():
    for name in PRECISIONS.values():
        assert keras.dtype_policies.get(name).variable_dtype == "float32"
