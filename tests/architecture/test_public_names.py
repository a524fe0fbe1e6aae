"""The verbs of the package are its attributes; rooms have other names."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import edgevit


def test_a_room_can_be_imported_under_another_name():
    import edgevit.verification.parity as parity

    assert callable(parity.compare)


def test_no_room_bears_the_name_of_a_verb():
    """Importing a room would put it in the verb's place (docs/decisions/0015)."""
    rooms = {module.name for module in pkgutil.iter_modules(edgevit.__path__)}
    assert rooms & set(edgevit.__all__) == set()


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "edgevit", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert edgevit.__version__ in result.stdout


def test_every_public_name_is_there():
    for name in edgevit.__all__:
        assert getattr(edgevit, name) is not None
    assert set(edgevit.__all__) <= set(dir(edgevit))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'exports'"):
        edgevit.exports  # noqa: B018
