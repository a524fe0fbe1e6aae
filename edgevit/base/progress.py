"""What long work reports to: the caller's callbacks, or a bar in Jupyter."""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any, ParamSpec, TypeVar

Status = Callable[[str], None]  # a line about what is being done
Progress = Callable[[int, int], None]  # (done, in all)

REDRAW_S = 0.1  # between two drawings of a bar
P = ParamSpec("P")
R = TypeVar("R")


def describe_progress(line: str, done: int, total: int, seconds: float) -> str:
    """How far work is; a total of 0 is unknown."""
    if not total or not done:
        return f"{line}: {done} done"
    left = seconds / done * (total - done)
    return f"{line}: {done} of {total}, about {left:.0f} s left"


class JupyterBar:
    """A line and a bar below a notebook's cell, gone when the work is done.

    It needs IPython's display alone, which every notebook has, and no widgets.
    """

    def __init__(self) -> None:
        self._line = ""
        self._handle: Any = None
        self._began = self._drawn = 0.0

    def status(self, line: str) -> None:
        """Says what is being done."""
        if line != self._line:
            self._line, self._began = line, time.monotonic()
            self._draw(line, "")

    def advance(self, done: int, total: int) -> None:
        """Moves the bar; a total of 0 is unknown."""
        now = time.monotonic()
        if now - self._drawn >= REDRAW_S or done == total:
            length = f' value="{done}" max="{total}"' if total else ""
            text = describe_progress(self._line, done, total, now - self._began)
            self._draw(text, f"<progress{length}></progress> ")

    def close(self) -> None:
        """Takes line and bar away."""
        if self._handle is not None:
            self._draw("", "")

    def _draw(self, text: str, bar: str) -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        shown = {"text/plain": text, "text/html": bar + escape(text)}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def in_jupyter() -> bool:
    """Whether this is a notebook's kernel: IPython alone, in a terminal, has none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def shown_in_jupyter(**hears: Callable[..., None]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: in Jupyter, a bar shows how far a function is, as long as it runs.

    A caller who gives one of the callbacks is told by that, and sees no bar. Scripts and terminals
    see none either.

    Args:
        **hears: by the name of the callback that the function takes: what a bar does when it is
            called, as ``(bar, *news)``.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not in_jupyter():
                return function(*args, **kwargs)
            given = {**inspect.signature(function).bind_partial(*args).arguments, **kwargs}
            if any(given.get(name) for name in hears):
                return function(*args, **kwargs)
            bar = JupyterBar()
            kwargs.update({name: functools.partial(hear, bar) for name, hear in hears.items()})
            try:
                return function(*args, **kwargs)
            finally:
                bar.close()

        return call

    return wrap


# Of what takes ``status``, and of what takes ``progress`` too.
tells_status = shown_in_jupyter(status=JupyterBar.status)
tells_progress = shown_in_jupyter(status=JupyterBar.status, progress=JupyterBar.advance)
