"""Models that Python code builds, with what goes wrong in one line that says where."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.base.errors import InputError, UnknownNameError
from edgevit.frontend.sources.table import find_kind, load_source
from helpers.refusals import line_of

MODULE = """
import keras

def build(units=3):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])

def named():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="little net")

class Zoo:
    @staticmethod
    def smallest():
        return named()

ready = named()
number = 7

def sized(rows, columns):
    return build()

def broken():
    return build(units=-3)

def quits():
    raise SystemExit("usage: nets.py FILE")

def nothing():
    pass

def unbuilt():
    return keras.Sequential([keras.layers.Dense(3)])
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A package of the current folder, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    package = tmp_path / "zoo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(MODULE)
    (package / "torn.py").write_text("import keras\n\ndef build(:\n    pass\n")
    (package / "lost.py").write_text("import keras\nimport a_module_that_is_nowhere\n")
    yield package
    sys.path[:] = before
    for name in [name for name in sys.modules if name.split(".")[0] == "zoo"]:
        del sys.modules[name]


def refusal(name: str) -> str:
    return line_of(InputError, lambda: load_source(name))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("zoo.nets:build", "nets-build"),
        ("zoo.nets:named", "little_net"),
        ("zoo.nets:ready", "little_net"),
        ("zoo.nets:Zoo.smallest", "little_net"),
    ],
)
def test_a_function_or_a_model_is_opened(nets, name, title):
    assert find_kind(name).noun == "Python code"
    trained = load_source(name)
    assert trained.name == title
    assert trained.network(np.ones((2, 4), np.float32)).shape == (2, 3)


def test_weights_are_loaded_into_it(nets):
    twin = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    twin.set_weights([np.full((4, 3), 2.0), np.ones(3)])
    twin.save_weights("mine.weights.h5")
    network = load_source("zoo.nets:build", Path("mine.weights.h5")).network
    np.testing.assert_array_equal(network(np.ones((1, 4), np.float32)), [[9.0] * 3])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zoo.nets:sized", ("takes the arguments rows, columns",)),
        ("zoo.nets:broken", ("ValueError", f"{Path('zoo/nets.py')}, line 5")),
        ("zoo.nets:quits", ("SystemExit", "usage", "line 25")),
        ("zoo.nets:nothing", ("NoneType", "Return the model")),
        ("zoo.nets:number", ("builtins.int", "no keras.Model")),
        ("zoo.nets:unbuilt", ("without an input shape",)),
        ("zoo.nets:bild", ("no 'bild'", "Did you mean build")),
        ("zoo.torn:build", ("SyntaxError", f"{Path('zoo/torn.py')}, line 3")),
        ("zoo.lost:build", ("ModuleNotFoundError", f"{Path('zoo/lost.py')}, line 2")),
        ("nets.py:build", ("nets:build",)),
        ("zoo.nowhere:build", ("ModuleNotFoundError",)),
        ("a_package_that_is_nowhere:build", ("no module 'a_package_that_is_nowhere'",)),
    ],
)
def test_what_goes_wrong_is_one_line(nets, name, words):
    message = refusal(name)
    assert message.startswith(f"{name}: ")
    assert all(word in message for word in words), message


def test_a_misspelt_architecture_is_no_module(nets):
    with pytest.raises(UnknownNameError, match="shiftvit"):
        load_source("shiftvot:nano")
