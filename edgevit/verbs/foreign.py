"""Files that others made, held against the float model that the user names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from edgevit.base.progress import Status
from edgevit.core.parity import ParityReport
from edgevit.core.reference import ReferenceSet
from edgevit.core.runtime import Runtime
from edgevit.formats.registry import find_runtime, runtimes_of
from edgevit.formats.session import Session
from edgevit.frontend.source import Source
from edgevit.verification.matching import Matched, Matching, match
from edgevit.verification.parity import check_file


def matched(source: Source, lines: list[str]) -> Callable[[Any], Any]:
    """A function that lets a session, or a reader, of another tool's file go by the model's names.

    Args:
        source: the float model.
        lines: what was matched is appended, for people.
    """

    def wrap(session: Any) -> Any:
        found: Matching = match(session, source.signature)
        lines.extend(line for line in found.lines() if line not in lines)
        return Matched(session, found, source.signature, source.prepare)

    return wrap


def choose_runtimes(first: Runtime, asked: bool) -> list[Runtime]:
    """The runtimes that judge a file whose target nobody knows.

    Args:
        first: the runtime that is asked for, or the usual one.
        asked: whether the user named it.
    """
    if asked or first.name != "litert":
        return [first]
    names = [name for name in ("litert", "litert-reference") if name in runtimes_of(first.format)]
    return [find_runtime(name) for name in names]


def check_foreign(
    path: Path, rows: list[Runtime], source: Source, reference: ReferenceSet, status: Status
) -> tuple[list[ParityReport], list[str]]:
    """(reports as those of :func:`check_file`, what was matched with what).

    Raises:
        ConfigError: an input or output of the model is not in the file.
        RuntimeFailure: a runtime refuses the file.
    """
    lines: list[str] = []
    wrap = cast(Callable[[Session], Session], matched(source, lines))
    return check_file(path, rows, reference, status, wrap=wrap), lines
