"""Recipes: what they say, what they refuse, and that they survive being written."""

from __future__ import annotations

import pytest

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.core.target import Precision
from edgevit.quantization.recipe import Recipe, Rule, check_used

RECIPE = Recipe(
    "vit",
    (
        Rule("vit/block*/mlp/*", "FULLY_CONNECTED", Precision.INT8),
        Rule("vit/block1/*", "*", Precision.FLOAT32),
        Rule("*", "GELU", Precision.INT8),
    ),
    Precision.DYNAMIC,
)


def test_the_first_rule_that_matches_counts():
    assert RECIPE.precision_of("vit/block1/mlp/dense", "FULLY_CONNECTED") is Precision.INT8
    assert RECIPE.precision_of("vit/block1/mlp/dense", "GELU") is Precision.FLOAT32
    assert RECIPE.precision_of("vit/block2/mlp/dense", "GELU") is Precision.INT8
    assert RECIPE.precision_of("vit/head", "FULLY_CONNECTED") is Precision.DYNAMIC


def test_a_recipe_reads_back_what_it_wrote():
    noted = Recipe('a "quoted" \\ name', RECIPE.rules, RECIPE.default, ("lost 0.1 points",))
    read = Recipe.from_text(noted.to_text(), "x.toml")
    assert (read.model, read.rules, read.default) == (noted.model, noted.rules, noted.default)
    assert "# lost 0.1 points" in noted.to_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("version = 1\n[[rule]", "no TOML"),
        ("", "version = None"),
        ("version = 2", "version = 2"),
        ('version = 1\nspeed = "fast"', "'speed'"),
        ('version = 1\ndefault = "int4"', "'int4'"),
        ("version = 1\ndefault = [1]", "[1]"),
        ('version = 1\n[[rule]]\nlayer = "*"', "rule 1"),
        ('version = 1\n[[rule]]\nlayer = 3\nprecision = "int8"', "patterns"),
        ('version = 1\n[[rule]]\nlayers = "*"\nprecision = "int8"', "'layers'"),
        ('version = 1\nrule = "int8"', "[[rule]]"),
    ],
)
def test_a_damaged_recipe_is_refused_in_one_line(text, complaint):
    with pytest.raises(ModelFileError) as caught:
        Recipe.from_text(text, "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rule_that_does_nothing_is_refused():
    operators = [("vit/block1/mlp/dense", "FULLY_CONNECTED"), ("vit/block1/norm", "MUL")]
    check_used(Recipe("", RECIPE.rules[:2]), operators, "r")
    with pytest.raises(ConfigError, match=r"rule 3.*matches no operator"):
        check_used(RECIPE, operators, "r")
    twice = Recipe("", (RECIPE.rules[0], RECIPE.rules[0]))
    with pytest.raises(ConfigError, match=r"rule 2.*under a rule above"):
        check_used(twice, operators, "r")
