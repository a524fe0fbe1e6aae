"""What a process of the command line does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from edgevit.base.lean import be_lean, HIDDEN
be_lean()
import tensorflow, keras
print(*(name for name in HIDDEN if name in sys.modules))
import matplotlib
print(matplotlib.__name__)
"""


def test_frameworks_do_without_what_no_verb_needs_and_everybody_else_gets_it():
    pytest.importorskip("matplotlib")
    command = [sys.executable, "-c", CODE]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["", "matplotlib"]
