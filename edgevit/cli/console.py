"""The terminal: people read stderr, programs read one JSON document on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from edgevit.base.documents import to_json
from edgevit.base.errors import OutputError
from edgevit.base.printing import printable
from edgevit.base.progress import describe_progress
from edgevit.core.parity import KERNELS, MEASURES, SAMPLES, OutputParity, ParityReport, Verdict
from edgevit.core.runtime import Runtime
from edgevit.core.target import Target
from edgevit.core.tolerance import Tolerance

PIPED = 120  # columns where no terminal is
TELL_S = 10.0  # between two lines of progress there
WHOLE = ("file",)  # columns whose cells are copied and pasted
GREEN, YELLOW, RED = "32", "33", "31"
STYLES = {GREEN: "green", YELLOW: "yellow", RED: "red"}
COLOURS = {
    **dict.fromkeys(("pass", "ok", "ok (faster)", "ready"), GREEN),
    **dict.fromkeys(("lossy", "inconclusive", "not run", "warning:"), YELLOW),
    **dict.fromkeys(("fail", "refused", "slower", "missing", "edgevit: error:"), RED),
}

_stderr_fd = 2  # where people read, also while fd 2 itself is diverted
_stdout_fd = 1
_closed: set[int] = set()  # of 0, 1 and 2, those that the caller had closed
_quiet = False


def be_quiet(quiet: bool = True) -> None:
    """Leaves out what is being done; results, warnings and errors stay."""
    global _quiet
    _quiet = quiet


def say(line: str = "") -> None:
    """A line for people; lost where nobody can read it."""
    with contextlib.suppress(OSError):
        _write(_stderr_fd, line)


def answer(document: Any, as_json: bool, text: Callable[[], str]) -> None:
    """The result of a verb on stdout: JSON, or text for people.

    Raises:
        BrokenPipeError: nobody reads any more.
        OutputError: it cannot be written, as on a full disk.
    """
    content = to_json(document, indent=2) if as_json else text()
    if _closed & {1}:
        raise OutputError("standard output is closed, so the answer could not be written.")
    try:
        _write(_stdout_fd, content.rstrip("\n"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: cannot be written ({error.strerror}).") from None


def fail(message: str) -> None:
    """The one line of a failure: on stderr, or on stdout where that is all that is open."""
    line = f"{paint('edgevit: error:', for_stderr=True)} {message}"
    if _closed == {2}:
        with contextlib.suppress(OSError):
            _write(_stdout_fd, line)
    else:
        say(line)


def _write(descriptor: int, text: str) -> None:
    """Writes the whole of a text, and nothing but colours that a terminal would obey."""
    data = (printable(text, colours=in_colour(descriptor)) + "\n").encode()
    while data:
        data = data[os.write(descriptor, data) :]


def open_streams() -> None:
    """Opens what the caller closed of stdin, stdout and stderr.

    Else the next file that is opened would bear its number, and libraries would print into it.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number, which is this one
            _closed.add(number)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def not_run_lines(target: Target, runtimes: Sequence[Runtime]) -> list[str]:
    """Lines about runtimes that verify a target where they are installed, and are not."""
    return [
        f"{target.name}: not run in {row.name}, which is not installed here: "
        f"pip install 'edgevit[{row.extra}]'"
        for row in runtimes
    ]


def verdict_lines(
    name: str,
    tolerance: Tolerance,
    reports: Sequence[ParityReport],
    verdict: Verdict,
    saturation: str = "",
) -> list[str]:
    """Why a file did not pass, with what helps; and what its golden outputs cannot prove.

    Args:
        name: how the lines call the file.
        tolerance: of its target.
        reports: of its runtimes.
        verdict: on it.
        saturation: why it is further off on this processor than on others, which says what helps.
    """
    lines = []
    for report in reports:
        found = report.verdict(tolerance)
        for output in report.outputs:
            if found not in (Verdict.FAIL, Verdict.LOSSY):
                continue
            kernels = output.apart(tolerance)
            if report.samples == KERNELS and output.relative > kernels:
                lines.append(
                    f"{name}: {report.runtime} and {reports[0].runtime} differ by "
                    f"{100 * output.relative:.2g} % of the deviation of {output.name!r}; limit "
                    f"{100 * kernels:.2g} %. One of them does not compute the file."
                )
            elif report.samples != KERNELS and output.verdict(tolerance) is found:
                lines.append(_figures_and_limits(name, tolerance, report, output))
    if saturation:
        lines.append(f"{name}: {saturation}")
    elif verdict is Verdict.LOSSY:
        lines.append(
            f"{name}: right, but lossy. What helps: more calibration samples like those it will "
            "meet, a target with more bits (tflite-mixed, tflite-int16x8, float16), or --max-drop "
            "with labelled images; --accept-loss if this is good enough."
        )
    for report in reports[:2]:
        if report.accuracy == report.accuracy:  # no NaN
            lines.append(
                f"{name}: right on {100 * report.accuracy:.1f} % of the labelled samples that were "
                f"held out, the float model on {100 * report.float_accuracy:.1f} %"
            )
    if reports and all(report.constant for report in reports):
        lines.append(
            f"{name}: the float model returns nearly the same for all golden inputs, so agreement "
            "on them proves little. Give samples of your own (--calibration)."
        )
    lines += [
        f"{name}: float32 rounding alone moves {output.name!r} of this network by "
        f"{100 * output.rounding.relative:.2g} % of its deviation, so its limits are wider"
        for report in reports
        for output in report.outputs
        if output.rounding
    ]
    return list(dict.fromkeys(lines))


def _figures_and_limits(
    name: str, tolerance: Tolerance, report: ParityReport, output: OutputParity
) -> str:
    tolerance = output.allowed(tolerance)
    limit, parts = tolerance.limit(output.role), []
    if tolerance.exact is not None:
        parts.append(f"largest error {output.error:.2g} of its scale (limit {tolerance.exact:.2g})")
    parts.append(
        f"mean error {100 * output.relative:.2g} % of its deviation "
        f"(limit {100 * limit.relative:.2g} %)"
    )
    if limit.agreement and not output.one_sided:
        title = MEASURES[output.role]
        parts.append(
            f"{title} {100 * output.agreement:.1f} %, between {100 * output.low:.1f} and "
            f"{100 * output.high:.1f} (limit {100 * limit.agreement:.0f} %)"
        )
    return (
        f"{name}, output {output.name!r} in {report.runtime} on {output.images} "
        f"{SAMPLES[report.samples].lower()}: {'; '.join(parts)}"
    )


def _open_log() -> IO[bytes]:
    """A file without a name; nothing at all where none can be made."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")


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
    with _open_log() as log:
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


def table(rows: Sequence[dict[str, str]], words: Collection[str] | None = None) -> str:
    """A table as text, or one block a row where the terminal is too narrow for it.

    Cells are broken between words only, and names of files never.

    Args:
        rows: cells by heading; a heading that a row lacks is an empty cell there.
        words: headings of the columns of text; the others hold figures, which are aligned to the
            right and never broken. None: all columns.
    """
    from io import StringIO

    from rich.console import Console

    rows = [{name: printable(cell) for name, cell in row.items()} for row in _fill_up(rows)]
    needed = sum(3 + size for size in _least_widths(rows, words).values())
    width = _terminal_width(_stdout_fd)
    if width is not None and needed > width:
        return _stack(rows, width)
    stream = StringIO()
    console = Console(
        file=stream,
        width=max(width or PIPED, needed),
        force_terminal=True,
        color_system="standard" if in_colour(_stdout_fd) else None,
        markup=False,
        highlight=False,
    )
    console.print(_draw_table(rows, words))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines() if line.strip())


def _fill_up(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows with the headings of all of them."""
    empty = dict.fromkeys((name for row in rows for name in row), "")
    return [empty | row for row in rows]


def paint(text: str, for_stderr: bool = False) -> str:
    """A verdict, or a word like "warning:", in its colour, where there is colour.

    Args:
        text: what is painted; text that has no colour stays as it is.
        for_stderr: whether it goes there, not to standard output.
    """
    code = COLOURS.get(text)
    if code is None or not in_colour(_stderr_fd if for_stderr else _stdout_fd):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def in_colour(descriptor: int) -> bool:
    """Whether text that goes there may be coloured: NO_COLOR, FORCE_COLOR, else a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.isatty(descriptor) and os.environ.get("TERM") != "dumb"


def _stack(rows: Sequence[dict[str, str]], width: int) -> str:
    """The first heading, and a block for each row: its first cell, the others below it by name."""
    size = max(map(len, rows[0]))
    lines = [f"{next(iter(rows[0]))}:"]
    for row in rows:
        (_, title), *others = row.items()
        lines.append(paint(title))
        for name, cell in others:
            room = len(cell) if name in WHOLE else width - size - 4
            parts = textwrap.wrap(cell, max(room, 1), break_long_words=False)
            headings = [name, *[""] * len(parts)]
            lines += [f"  {h:<{size}}  {paint(p)}" for h, p in zip(headings, parts, strict=False)]
    return "\n".join(lines)


def _least_widths(rows: Sequence[dict[str, str]], words: Collection[str] | None) -> dict[str, int]:
    """Characters that each column needs at least: its longest word, or cell of figures."""

    def size(name: str, cell: str) -> int:
        return len(cell) if _stays_whole(name, words) else max(map(len, cell.split()), default=0)

    names = rows[0] if rows else ()
    return {
        name: max(size(name, cell) for cell in (name, *(r[name] for r in rows))) for name in names
    }


def _stays_whole(name: str, words: Collection[str] | None) -> bool:
    return name in WHOLE or (words is not None and name not in words)


def _draw_table(rows: Sequence[dict[str, str]], words: Collection[str] | None = None) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, size in _least_widths(rows, words).items():
        figures = words is not None and name not in words
        drawn.add_column(
            name,
            justify="right" if figures else "left",
            no_wrap=_stays_whole(name, words),
            min_width=size,
        )
    for row in rows:
        cells = (
            Text(printable(cell), STYLES.get(COLOURS.get(cell, ""), "")) for cell in row.values()
        )
        drawn.add_row(*cells)
    return drawn


@contextlib.contextmanager
def working(still: bool = False) -> Iterator[Working]:
    """A status line, a progress bar and a table on stderr; lines where stderr is no terminal.

    Args:
        still: draw only when :meth:`Working.show` is called, while the machine is being timed.
    """
    from rich.console import Console
    from rich.live import Live
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
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        bar = Progress(*columns, console=console)
        if not console.is_terminal or _quiet:
            yield Working(bar, None)
            return
        with Live(bar, console=console, transient=True, auto_refresh=not still) as live:
            yield Working(bar, live)


class Working:
    """What :func:`working` hands out.

    Args:
        bar: rich's progress bar.
        live: rich's live display of it; None: there is no terminal, and each new status is a line.
    """

    def __init__(self, bar: Any, live: Any):
        self._bar, self._live = bar, live
        self._task: Any = None
        self._line = ""
        self._began = self._told = time.monotonic()

    def status(self, line: str) -> None:
        """Says what is being done; once, however often it is called with the same line."""
        if line == self._line and self._task is not None:
            return
        self._line = line
        if self._live is None and not _quiet:
            say(line)
        self._start(None)

    def advance(self, done: int, total: int) -> None:
        """Moves the bar; a total of 0 is unknown."""
        if self._task is None:
            self._start(total or None)
        self._bar.update(self._task, completed=done, total=total or None)
        now = time.monotonic()
        if self._live is None and not _quiet and now - self._told >= TELL_S:
            self._told = now
            say(describe_progress(self._line, done, total, now - self._began))

    def show(self, rows: Sequence[dict[str, str]]) -> None:
        """Draws a table above the bar, as :func:`table`."""
        if self._live is not None:
            from rich.console import Group

            self._live.update(Group(_draw_table(rows), self._bar), refresh=True)

    def _start(self, total: int | None) -> None:
        self._began = self._told = time.monotonic()
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(printable(self._line), total=total)


def megabytes(size_bytes: int) -> str:
    """Bytes as MB (10^6)."""
    return f"{size_bytes / 1e6:.2f}"


def shown_path(path: Path) -> str:
    """A path as the user would type it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def _terminal_width(descriptor: int) -> int | None:
    """Columns of a terminal, or those that COLUMNS says; None where there is neither."""
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"]) or None
    with contextlib.suppress(OSError):
        return os.get_terminal_size(descriptor).columns or None
    return None
