"""The pass of CONTRIBUTING.md does what the tests beside it there say."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from document_blocks import read_example
from programs import ROOT

EXAMPLE = read_example((ROOT / "CONTRIBUTING.md").read_text())
TESTS = "test_drop_double_negation.py"


def load(name: str, monkeypatch) -> ModuleType:
    """A file of the document, as a module of its name."""
    module = ModuleType(name.removesuffix(".py"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(EXAMPLE[name], name, "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("number", range(2))
def test_the_tests_of_the_document_pass(rewrite, monkeypatch, number):
    load(TESTS.removeprefix("test_"), monkeypatch)
    tests = [one for name, one in vars(load(TESTS, monkeypatch)).items() if name[:5] == "test_"]
    assert len(tests) == 2
    tests[number](rewrite)
