"""Signals that end a run, also where a library swallows the exception that they raise.

Python runs a signal's handler between two steps of the main thread. While that thread waits inside
an array library, the step may be one whose exceptions nobody sees: a training on JAX went on after
SIGTERM in two of six trials. So the signal is remembered, and long loops ask for it.
"""

from __future__ import annotations

import signal
from typing import NoReturn

_pending: list[BaseException] = []


def listen() -> None:
    """SIGTERM and Ctrl-C end the process in the orderly way, with temporary files removed.

    A signal that the parent told the process to ignore stays ignored. Main thread only.
    """
    _pending.clear()
    signal.signal(signal.SIGTERM, lambda number, frame: stop(SystemExit(128 + number)))
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: stop(KeyboardInterrupt()))


def stop(error: BaseException) -> NoReturn:
    """Raises an exception now, and again from :func:`check` if it does not get through."""
    _pending[:] = [error]
    raise error


def check() -> None:
    """To be called every few steps of anything long.

    Raises:
        SystemExit, KeyboardInterrupt: a signal has come, and its exception was lost.
    """
    if _pending:
        raise _pending.pop()


def exit_code() -> int | None:
    """What a signal that came asks the process to exit with; None: none came.

    For errors that a library made of the exception of a signal.
    """
    if not _pending:
        return None
    asked = _pending[0]
    return int(str(asked.code)) if isinstance(asked, SystemExit) else 128 + signal.SIGINT
