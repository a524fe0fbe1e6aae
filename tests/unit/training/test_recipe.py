"""Recipes by name and from files, those of earlier trainers among them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from edgevit.base.errors import ConfigError, ModelFileError, UnknownNameError
from edgevit.models.shipped import ARTIFACTS
from edgevit.training.recipe import RECIPES, RETIRED, Recipe, open_recipe

SHIPPED = sorted(ARTIFACTS.glob("*/recipe.json"))


def write(path, **changes):
    path.write_text(json.dumps({"recipe": {**asdict(RECIPES["quick"]), **changes}}))
    return path


def test_four_recipes_have_a_name():
    assert list(RECIPES) == ["default", "quick", "finetune", "distill"]
    for name, recipe in RECIPES.items():
        assert open_recipe(name) == (recipe, ())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_the_recipe_beside_shipped_weights_is_read_and_what_nobody_reads_is_told(file):
    values = json.loads(file.read_text())["recipe"]
    recipe, unused = open_recipe(str(file))
    assert open_recipe(str(file.parent)) == (recipe, unused)
    followed = asdict(recipe)
    assert {key: followed[key] for key in values if key in followed} == {
        key: value for key, value in values.items() if key not in RETIRED
    }
    told = {note.partition("=")[0] for note in unused}
    assert told == {key for key in RETIRED & values.keys() if values[key]}
    assert ({"jpeg_probability", "jpeg_quality"} <= told) is ("jpeg_quality" in values)


def test_shipped_recipes_are_there():
    assert len(SHIPPED) >= 8


def test_a_recipe_comes_back_from_its_file_with_nothing_to_tell(tmp_path):
    recipe = replace(RECIPES["distill"], name="own", epochs=3, rand_augment=0.25)
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": asdict(recipe)}))
    assert open_recipe(str(tmp_path)) == (recipe, ())


def test_retired_fields_that_were_off_are_not_told(tmp_path):
    off = {"resolutions": [], "final_epochs": 0, "final_config": {}, "views": 0}
    recipe, unused = open_recipe(str(write(tmp_path / "recipe.json", **off)))
    assert (recipe, unused) == (RECIPES["quick"], ())


def test_an_unknown_recipe_is_refused_with_its_near_miss():
    with pytest.raises(UnknownNameError, match="Did you mean finetune"):
        open_recipe("finetun")


def test_a_field_that_no_recipe_ever_had_is_refused_with_its_near_miss(tmp_path):
    file = write(tmp_path / "recipe.json", epoch=3)
    with pytest.raises(UnknownNameError, match="Did you mean epochs"):
        open_recipe(str(file))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"recipe": 3}', '{"recipe": {}}', '{"recipe": {"name": 3}}']
)
def test_a_file_without_a_recipe_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"holds no recipe|recipe is damaged") as caught:
        open_recipe(str(tmp_path / "recipe.json"))
    assert "\n" not in str(caught.value)


def test_a_value_of_another_type_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"Expected `int`, got `str` - at `\$\.epochs`"):
        open_recipe(str(write(tmp_path / "recipe.json", epochs="many")))
    with pytest.raises(ModelFileError, match=r"none\.json"):
        open_recipe(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"temperature": 0.0},
        {"optimizer": "lion"},
        {"teacher_share": 1.5},
        {"teacher_share": -0.1},
        {"crop_padding": -1},
        {"rand_augment": 1.5},
        {"ema_momentum": 1.0},
        {"cutmix_probability": 0.6, "mixup_probability": 0.6},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_a_config_error(wrong, tmp_path):
    with pytest.raises(ConfigError, match="Received"):
        Recipe("test", **wrong)
    with pytest.raises(ConfigError, match=r"recipe\.json: .*Received"):
        open_recipe(str(write(tmp_path / "recipe.json", **wrong)))
