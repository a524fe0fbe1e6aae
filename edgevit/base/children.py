"""Processes that this one starts: where they find packages, how they ended, what they raised."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FunctionType
from typing import IO, Any

from edgevit.base import errors
from edgevit.base.errors import EdgevitError, RuntimeFailure

PACKAGE = Path(__file__).parents[2]


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
