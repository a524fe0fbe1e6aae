"""What a process tells of those that it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgevit.base.children import child_environment, describe_end, name_signal, revive_error
from edgevit.base.errors import ConfigError, MissingDependencyError, ModelFileError, RuntimeFailure


def test_a_child_finds_what_this_process_finds(tmp_path, monkeypatch):
    (tmp_path / "plugged_in.py").write_text("print('found')")
    monkeypatch.syspath_prepend(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", "import edgevit.base.errors, plugged_in"],
        capture_output=True, text=True, env=child_environment(GIVEN="1"), cwd="/",
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "found\n"), ran.stderr
    assert child_environment(GIVEN="1")["GIVEN"] == "1"


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [(-11, "SIGSEGV", "SIGSEGV"), (0, None, "exit code 0"), (3, None, "exit code 3"),
     (-999, None, "exit code -999"), (None, None, "exit code None")],
)  # fmt: skip
def test_an_end_is_a_signal_or_a_code(code, name, text):
    assert (name_signal(code), describe_end(code)) == (name, text)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ModelFileError", ModelFileError),
        ("ConfigError", ConfigError),  # a ValueError too
        (MissingDependencyError.__name__, RuntimeFailure),  # it is built of more than a line
        ("KeyboardInterrupt", RuntimeFailure),
        ("annotations", RuntimeFailure),
    ],
)
def test_an_error_of_a_child_keeps_its_plain_class(name, kind):
    found = revive_error(name, "a line")
    assert type(found) is kind
    assert str(found) == "a line"
