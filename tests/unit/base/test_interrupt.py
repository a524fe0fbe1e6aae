"""A signal ends the process, now or at the next question."""

from __future__ import annotations

import contextlib
import signal

import pytest

from edgevit.base import interrupt
from programs import run_program


def run(number: int):
    return run_program("swallow_signal", int(number))


def test_sigterm_ends_the_process_at_the_next_question():
    done = run(signal.SIGTERM)
    assert (done.returncode, done.stdout) == (143, "swallowed\n")


@contextlib.contextmanager
def ctrl_c(handler):
    """What a process that is started now makes of Ctrl-C."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_does_so_too():
    with ctrl_c(signal.default_int_handler):  # a job in the background would ignore it
        done = run(signal.SIGINT)
    assert done.returncode != 0
    assert done.stdout == "swallowed\n"
    assert "KeyboardInterrupt" in done.stderr


def test_an_ignored_ctrl_c_stays_ignored():
    """A job in the background of a shell without job control."""
    with ctrl_c(signal.SIG_IGN):
        done = run(signal.SIGINT)
    assert done.returncode == 0
    assert done.stdout.endswith("went on\n")


def test_nothing_happens_without_a_signal():
    interrupt.check()


def test_what_was_raised_is_raised_again_once():
    with pytest.raises(SystemExit):
        interrupt.stop(SystemExit(1))
    with pytest.raises(SystemExit):
        interrupt.check()
    interrupt.check()


@pytest.mark.parametrize(("asked", "code"), [(SystemExit(143), 143), (KeyboardInterrupt(), 130)])
def test_an_error_that_a_library_made_of_a_signal_keeps_its_exit_code(asked, code):
    assert interrupt.exit_code() is None
    with contextlib.suppress(BaseException):
        interrupt.stop(asked)
    assert interrupt.exit_code() == code
    with pytest.raises(type(asked)):
        interrupt.check()
    assert interrupt.exit_code() is None
