"""Options are fields: what a call chooses reaches the formats that take it, or is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import click
import pytest

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.base.loading import load_attribute
from edgevit.cli.export import export as export_command
from edgevit.core.format import Format
from edgevit.core.options import KEY, Option
from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.options import build_options, choose_options, flag_of, list_options
from edgevit.formats.registry import FORMATS, find_targets
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.frontend.opening import Opening
from edgevit.frontend.source import ExportOptions
from edgevit.quantization.recipe import Recipe
from edgevit.verbs.export import ExportArguments, export, export_all, plan_export

# Arguments of export that no writer sees: what the verb itself does with them.
OF_THE_VERB = {
    *("calibration", "ranges", "budget", "keep_failed", "accept_loss", "embed_samples", "sign"),
    *("thorough", "cache", "jobs", "status", "progress", "finished"),
}
RECIPE = Recipe("net", ())


def test_keyword_arguments_are_the_fields_of_all_formats_and_those_of_the_verb():
    types = get_type_hints(ExportArguments)
    own = set(types) - set(Opening.__annotations__)
    assert own - OF_THE_VERB == set(list_options()) - {"preprocess"}
    rows = [load_attribute(spec.options) for spec in FORMATS.values()]
    for name, field in list_options().items():
        if name in own:
            (declared,) = {hints[name] for hints in map(get_type_hints, rows) if name in hints}
            assert types[name] == declared, field


@pytest.mark.parametrize("kind", Format)
def test_every_field_is_an_option_whose_words_are_there(kind):
    row = load_attribute(FORMATS[kind].options)
    assert issubclass(row, ExportOptions)
    for field in fields(row):
        words = field.metadata[KEY]
        assert isinstance(words, Option)
        assert words.help.endswith(".")
        assert not words.read or callable(load_attribute(words.read))


def test_the_command_line_has_every_option_with_its_default():
    typed = {name for p in export_command.params for name in (*p.opts, *p.secondary_opts)}
    defaults = {parameter.name: parameter.default for parameter in export_command.params}
    for name, field in list_options().items():
        assert flag_of(field) in typed
        assert defaults[name] == field.default
    assert "--no-preprocess" in typed


def test_an_option_reaches_the_formats_that_have_it():
    rows = find_targets("all")
    found = choose_options(rows, {"batch": 4, "opset": 17, "surgery": (), "recipe": RECIPE})
    assert set(found) == set(Format)
    assert {options.batch for options in found.values()} == {4}
    assert found[Format.ONNX] == OnnxOptions(batch=4, opset=17)
    assert found[Format.TFLITE] == TfliteOptions(batch=4, surgery=(), recipe=RECIPE)
    assert build_options(Format.ONNX, {"surgery": ()}) == OnnxOptions()


@pytest.mark.parametrize(
    ("targets", "chosen", "words"),
    [
        ("tflite-int8,savedmodel", {"opset": 17}, "--opset is for onnx-float32, .*onnx-int8"),
        ("onnx-int8", {"surgery": ()}, "--surgery is for tflite-float32, .*tflite-dynamic-int4"),
        ("tflite-int8,onnx-int8", {"recipe": RECIPE}, "--recipe-file is for tflite-mixed: none"),
    ],
)
def test_an_option_that_no_target_takes_is_one_clear_error(targets, chosen, words, tmp_path):
    with pytest.raises(ConfigError, match=words) as caught:
        choose_options(find_targets(targets), chosen)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=words):
        export_all("shiftvit", targets, tmp_path / "out", **chosen)
    assert not (tmp_path / "out").exists()


def test_a_default_chooses_nothing_so_every_target_bears_it():
    every = {name: field.default for name, field in list_options().items()}
    for target in find_targets("all"):
        choose_options([target], every)
        plan_export([target], {**every, "ranges": None, "budget": None})


def test_an_argument_that_does_not_exist_is_the_error_that_python_raises(tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'bacth'"):
        export("shiftvit", "tflite-int8", tmp_path / "out", bacth=4)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--opset", "16"], ConfigError, "17, 18, 19, 20"),
        (["--opset", "x"], click.BadParameter, "not a valid integer"),
        (["--batch", "many"], ConfigError, "--batch: 'many' is neither"),
        (["--io-dtype", "int4"], click.BadParameter, "uint8.*int8.*float32"),
        (["--surgery", "nonsense"], UnknownNameError, "nonsense"),
        (["--micro"], click.UsageError, "ask for tflite-int8-micro"),
        (["--optimize", "cpu"], click.UsageError, "ask for onnx-float32-cpu"),
        (["--nonsense"], click.NoSuchOption, "nonsense"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_as_it_is_typed(
    arguments, error, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    typed = ["shiftvit", "--format", "onnx-float32", *arguments]
    with pytest.raises(error, match=words):
        export_command.main(typed, standalone_mode=False)
    assert not list(tmp_path.iterdir())
