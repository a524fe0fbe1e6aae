"""The terminal: people read stderr, programs read one JSON document on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgevit.base.documents import to_json
from edgevit.core.runtime import Runtime
from edgevit.core.target import Target

_stderr_fd = 2  # where people read, also while fd 2 itself is diverted
_stdout_fd = 1


def say(line: str = "") -> None:
    """A line for people."""
    os.write(_stderr_fd, (line + "\n").encode())


def answer(document: Any, as_json: bool, text: Callable[[], str]) -> None:
    """The result of a verb on stdout: JSON, or text for people."""
    content = to_json(document, indent=2) if as_json else text()
    os.write(_stdout_fd, (content.rstrip("\n") + "\n").encode())


def not_run_lines(target: Target, runtimes: Sequence[Runtime]) -> list[str]:
    """What to tell of runtimes that would have verified a target, and are not installed."""
    return [
        f"{target.name}: not run in {row.name}, which is not installed here: "
        f"pip install 'edgevit[{row.extra}]'"
        for row in runtimes
    ]


@contextlib.contextmanager
def native_output_hidden(verbose: bool) -> Iterator[None]:
    """Keeps what converters and runtimes print off the terminal.

    Both descriptors go to a temporary file while the context lasts, so that stdout stays one JSON
    document; ``verbose`` sends everything to stderr instead. What edgevit itself prints (through
    sys.stdout, or with the functions of this module) still arrives.
    """
    global _stderr_fd, _stdout_fd
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(kept[1] if verbose else log.fileno(), 1)
        if not verbose:
            os.dup2(log.fileno(), 2)
        _stdout_fd, _stderr_fd = kept
        own_stdout = sys.stdout
        sys.stdout = os.fdopen(os.dup(kept[0]), "w")
        try:
            yield
        finally:
            sys.stdout.close()
            sys.stdout = own_stdout
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            _stdout_fd, _stderr_fd = 1, 2
            os.close(kept[0])
            os.close(kept[1])


def table(
    columns: list[str], rows: list[list[str]], right: tuple[str, ...] = (), least: int = 1
) -> str:
    """A table as text.

    Args:
        columns: headings.
        rows: cells.
        right: headings of the columns that are aligned to the right.
        least: characters that the other columns keep, so that names stay whole; the table may then
            be wider than the terminal.
    """
    from io import StringIO

    from rich.console import Console

    stream = StringIO()
    longest = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    needed = sum(
        3 + (size if name in right else min(size, least))
        for name, size in zip(columns, longest, strict=True)
    )
    width = max(80, _terminal_width(), needed)
    console = Console(file=stream, width=width, color_system=None, markup=False)
    drawn = _draw_table(columns, rows, right, least)
    console.print(drawn)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines() if line.strip())


def _draw_table(
    columns: list[str], rows: list[list[str]], right: tuple[str, ...], least: int = 1
) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        if name in right:  # a figure that is broken in two cannot be read
            drawn.add_column(name, justify="right", no_wrap=True)
        else:
            longest = max(len(text) for text in (name, *(row[place] for row in rows)))
            drawn.add_column(name, overflow="fold", min_width=min(least, longest))
    for row in rows:
        drawn.add_row(*map(Text, row))
    return drawn


@contextlib.contextmanager
def live_table() -> Iterator[LiveTable]:
    """A table on stderr that is drawn anew while work goes on, where stderr is a terminal."""
    from rich.console import Console
    from rich.live import Live

    with os.fdopen(os.dup(_stderr_fd), "w") as stream:
        console = Console(file=stream, force_terminal=os.isatty(stream.fileno()))
        if not console.is_terminal:
            yield LiveTable(None)
            return
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield LiveTable(live)


class LiveTable:
    """What :func:`live_table` hands out.

    Args:
        live: rich's live display; None: there is no terminal, and each new status is a line.
    """

    def __init__(self, live: Any):
        self._live = live
        self._status = ""

    def show(
        self,
        status: str,
        progress: str,
        columns: list[str],
        rows: list[list[str]],
        right: tuple[str, ...] = (),
    ) -> None:
        """Draws the table.

        Args:
            status: what is being done.
            progress: how far it is; shown only where the line can be drawn again.
            columns: headings.
            rows: cells.
            right: headings of the columns that are aligned to the right.
        """
        if self._live is None:
            if status != self._status:
                say(status)
            self._status = status
            return
        from rich.console import Group
        from rich.text import Text

        drawn = _draw_table(columns, rows, right)
        self._live.update(Group(drawn, Text(f"{status} {progress}")), refresh=True)


@contextlib.contextmanager
def working(quiet: bool = False) -> Iterator[Working]:
    """A live status line and progress bar on stderr, where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with os.fdopen(os.dup(_stderr_fd), "w") as stream:
        console = Console(file=stream, force_terminal=os.isatty(stream.fileno()))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        live = console.is_terminal and not quiet
        with Progress(*columns, console=console, transient=True, disable=not live) as progress:
            yield Working(progress, None if quiet else (None if live else say))


class Working:
    """What :func:`working` hands out: a status line and a progress bar.

    Args:
        progress: rich's live display.
        plain: where lines go if there is no live display; None: nowhere.
    """

    def __init__(self, progress: Any, plain: Callable[[str], None] | None):
        self._progress = progress
        self._plain = plain
        self._task: Any = None
        self._line = ""

    def status(self, line: str) -> None:
        """Says what is being done; once, however often it is called with the same line."""
        if line == self._line and self._task is not None:
            return
        self._line = line
        if self._plain:
            self._plain(line)
        self._start(None)

    def advance(self, done: int, total: int) -> None:
        """Moves the bar; a total of 0 is unknown."""
        if self._task is None:
            self._start(total or None)
        self._progress.update(self._task, completed=done, total=total or None)

    def _start(self, total: int | None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(self._line, total=total)


def megabytes(size_bytes: int) -> str:
    """Bytes as MB (10^6)."""
    return f"{size_bytes / 1e6:.2f}"


def shown_path(path: Path) -> str:
    """A path as the user would type it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def _terminal_width() -> int:
    with contextlib.suppress(OSError):
        return os.get_terminal_size(_stderr_fd).columns
    return 120
