"""Processes that this one starts: where they find packages, how they ended, what they raised."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import IO, Any

from edgevit.base import errors
from edgevit.base.errors import EdgevitError, RuntimeFailure

PACKAGE = Path(__file__).parents[2]


class ChildDied(Exception):
    """A child ended without an answer.

    Args:
        how: it ended, see :func:`describe_end`.
    """

    def __init__(self, how: str):
        super().__init__(how)
        self.how = how


class Child:
    """A context manager around a process that answers one request, and ends with it.

    Request and answer are pickled: see :func:`serve` for the child's side. It holds the other end
    of its standard input: when this process dies, however it does, the child sees the end of that
    and dies too.

    Args:
        command: what is started.
        request: what it answers.
    """

    def __init__(self, command: Sequence[str], request: object):
        self._answer: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the child)
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=self._answer,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it is gone already, and the answer tells
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        self._answer.close()

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._process.poll() is not None

    def wait(self) -> Any:
        """Waits for the answer.

        Raises:
            ChildDied: there is none.
        """
        self._process.wait()
        self._answer.seek(0)
        try:
            return pickle.load(self._answer)  # of our own child
        except (EOFError, pickle.UnpicklingError):
            raise ChildDied(describe_end(self._process.returncode)) from None


def serve(answer: Callable[[Any], object]) -> None:
    """The child's side of :class:`Child`: answers the request on stdin, on stdout.

    Args:
        answer: called with the request; what it prints goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = pickle.load(sys.stdin.buffer)  # of the process that started this one
    end_with_parent(sys.stdin.buffer)
    pickle.dump(answer(request), answers)
    answers.close()


def child_environment(**fixed: str) -> dict[str, str]:
    """Variables of a child, which finds the packages and plug-ins that this process finds.

    Args:
        **fixed: further variables, whatever they are here.
    """
    paths = dict.fromkeys([str(PACKAGE), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **fixed}


def end_with_parent(stream: IO[bytes]) -> None:
    """Lets this process end when its parent does, however that ends.

    Args:
        stream: that the parent holds the other end of, and never writes to again.
    """
    threading.Thread(target=_wait_for_end, args=(stream,), daemon=True).start()


def _wait_for_end(stream: IO[bytes]) -> None:
    stream.read(1)
    os._exit(1)


def name_signal(code: int | None) -> str | None:
    """The signal that ended a process, by its exit code; None: it ended by itself."""
    try:
        return signal.Signals(-(code or 0)).name
    except ValueError:
        return None


def describe_end(code: int | None) -> str:
    """How a process ended, by its exit code: the signal, or the code."""
    return name_signal(code) or f"exit code {code}"


def revive_error(name: str, text: str) -> EdgevitError:
    """An error that a child told of; one of no plain class becomes the runtime's.

    Args:
        name: of its class.
        text: its message.
    """
    kind: Any = getattr(errors, name, RuntimeFailure)
    known = isinstance(kind, type) and issubclass(kind, EdgevitError)
    # A class that takes more than a line has a constructor of its own, written in Python.
    plain = known and not isinstance(kind.__init__, FunctionType)
    error: EdgevitError = (kind if plain else RuntimeFailure)(text)
    return error
