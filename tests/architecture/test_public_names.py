"""The verbs of the package stay verbs, whatever rooms are imported first."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

import edgevit


@pytest.mark.parametrize("room", ["export", "verify"])
def test_a_verb_survives_the_import_of_the_room_of_its_name(room):
    module = importlib.import_module(f"edgevit.{room}")
    assert isinstance(module, ModuleType)
    assert callable(getattr(edgevit, room))
    assert getattr(edgevit, room).__module__.startswith("edgevit.pipeline.")


def test_every_public_name_is_there():
    for name in edgevit.__all__:
        assert getattr(edgevit, name) is not None
    assert set(edgevit.__all__) <= set(dir(edgevit))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'exports'"):
        edgevit.exports  # noqa: B018
