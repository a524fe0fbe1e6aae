"""WarmupCosine and the recipes."""

from __future__ import annotations

import math

import keras
import pytest

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.training.recipe import RECIPES, Phase, Recipe, find_recipe
from edgevit.training.schedule import WarmupCosine


def rate(schedule: WarmupCosine, step: int) -> float:
    return float(keras.ops.convert_to_numpy(schedule(step)))


def test_warm_up_cosine_has_the_expected_values_at_its_key_steps():
    schedule = WarmupCosine(peak=0.8, warmup_steps=10, total_steps=50)
    expected = {
        0: 0.08,  # the first step already moves
        4: 0.4,
        9: 0.8,
        10: 0.8,
        20: 0.8 * (1 + math.cos(math.pi / 4)) / 2,
        30: 0.4,  # half-way down
        40: 0.8 * (1 - math.cos(math.pi / 4)) / 2,
        50: 0.0,
        51: 0.0,
        10_000: 0.0,
    }
    values = {step: rate(schedule, step) for step in expected}
    assert values == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_learning_rate_rises_to_the_peak_and_then_only_falls():
    schedule = WarmupCosine(peak=1e-3, warmup_steps=7, total_steps=40)
    values = [rate(schedule, step) for step in range(41)]
    assert values[:7] == sorted(values[:7])
    assert values[7:] == sorted(values[7:], reverse=True)
    assert max(values) == pytest.approx(1e-3)
    assert min(values[:40]) > 0


def test_a_schedule_without_warm_up_starts_at_the_peak():
    assert rate(WarmupCosine(0.5, 0, 10), 0) == pytest.approx(0.5)


def test_a_schedule_is_rebuilt_from_its_config():
    schedule = WarmupCosine(0.3, 4, 20)
    copy = WarmupCosine.from_config(schedule.get_config())
    assert [rate(copy, step) for step in range(22)] == [rate(schedule, s) for s in range(22)]


@pytest.mark.parametrize(
    ("epochs", "resolutions", "expected"),
    [
        (10, (), [(0, 10, 48)]),
        (10, ((0, 32),), [(0, 10, 32)]),
        (10, ((0, 32), (7, 48)), [(0, 7, 32), (7, 10, 48)]),
        (10, ((0, 16), (4, 32), (9, 48)), [(0, 4, 16), (4, 9, 32), (9, 10, 48)]),
        (5, ((0, 32), (5, 48)), [(0, 5, 32)]),  # the second phase would never begin
        (3, ((0, 32), (17, 48)), [(0, 3, 32)]),
    ],
)
def test_phases_divide_the_epochs_by_resolution(epochs, resolutions, expected):
    recipe = Recipe("test", epochs=epochs, resolutions=resolutions)
    phases = recipe.phases(image_size=48)
    assert [(phase.first, phase.end, phase.image_size) for phase in phases] == expected
    assert all(phase.config == recipe.config for phase in phases)


def test_final_epochs_have_their_own_config():
    fields = {"config": {"dropout": 0.0, "patch_dropout": 0.5}, "final_epochs": 2}
    fields["final_config"] = {"patch_dropout": 0.0}
    whole = {"dropout": 0.0, "patch_dropout": 0.0}
    recipe = Recipe("test", epochs=8, **fields)
    assert recipe.phases(72) == [Phase(0, 6, 72, recipe.config), Phase(6, 8, 72, whole)]
    recipe = Recipe("test", epochs=8, resolutions=((0, 32), (7, 48)), **fields)
    assert recipe.phases(72) == [
        Phase(0, 6, 32, recipe.config),
        Phase(6, 7, 32, whole),
        Phase(7, 8, 48, whole),
    ]
    assert recipe.shortened(4).phases(72) == [
        Phase(0, 3, 32, recipe.config),
        Phase(3, 4, 48, whole),
    ]
    assert Recipe("test", epochs=2, **fields).phases(72) == [Phase(0, 2, 72, whole)]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_trains_each_epoch_exactly_once(recipe):
    covered = [e for phase in recipe.phases(48) for e in range(phase.first, phase.end)]
    assert covered == list(range(recipe.epochs))
    assert find_recipe(recipe.name) is recipe


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"resolutions": ((1, 32),)},
        {"final_epochs": 2},
        {"final_config": {"dropout": 0.1}},
        {"resolutions": ((0, 32), (0, 48))},
        {"resolutions": ((0, 32), (9, 40), (5, 48))},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_a_config_error(options):
    with pytest.raises(ConfigError, match="Received"):
        Recipe("test", **options)


def test_an_unknown_recipe_is_refused_with_its_near_miss():
    with pytest.raises(UnknownNameError, match="Did you mean cpu-progressive"):
        find_recipe("cpu-progresive")
