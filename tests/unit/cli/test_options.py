"""What options make of the text that was typed."""

from __future__ import annotations

import click
import pytest

from edgevit.cli.options import read_fields


def read(*entries: str):
    context = click.Context(click.Command("train"))
    return read_fields(context, click.Option(["--set"]), entries)


def test_fields_are_python_values_else_text():
    assert read("image_size=64", "window_sizes=2,2,4,2", " form = tutorial", "rate=0.5") == {
        "image_size": 64,
        "window_sizes": (2, 2, 4, 2),
        "form": "tutorial",
        "rate": 0.5,
    }
    assert read() == {}


@pytest.mark.parametrize("entry", ["image_size", "=64", ""])
def test_a_field_needs_a_name_and_a_value(entry):
    with pytest.raises(click.BadParameter, match="not FIELD=VALUE"):
        read(entry)


def test_text_is_never_run():
    assert read("x=__import__('os')") == {"x": "__import__('os')"}
