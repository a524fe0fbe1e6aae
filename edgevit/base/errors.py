"""Every error that edgevit raises on purpose.

    EdgevitError                  exit code 1
    ├── InputError                exit code 2: what the user handed over cannot be used
    │   ├── ConfigError           a size or an option that makes no sense
    │   ├── UnknownNameError      no such model, target, recipe ...; near misses are named
    │   ├── DataError             a dataset, an archive or an image that cannot be read
    │   └── ModelFileError        weights, a .keras file or an exported file that cannot be read
    ├── MissingDependencyError    packages that this verb needs are not installed
    ├── MissingToolError          a program that this option needs is not installed
    ├── ExportError               a converter, a quantiser or the audit refused
    ├── RuntimeFailure            a runtime refused to load or to run a file
    │   └── KernelsEnded          its kernels ended the process that they ran in
    └── OutputError               a file could not be written

A message gives the fact, the limit and the next step, in one line. Only ``cli`` prints it.
"""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

Row = TypeVar("Row")
TENSORFLOW_BEFORE = (3, 14)  # from there on it has no wheel, and pyproject.toml leaves it out


def in_one_line(error: object, most: int | None = None) -> str:
    """An error's text without line breaks, cut after ``most`` characters."""
    return " ".join(str(error).split())[:most]


class EdgevitError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code = 1


class InputError(EdgevitError):
    """What the user handed over cannot be used."""

    exit_code = 2


class ConfigError(InputError, ValueError):
    """A size or an option that makes no sense."""


class UnknownNameError(InputError, KeyError):
    """A name that is in no table. The message names the near misses.

    Args:
        noun: what was looked up, such as "model".
        name: what was asked for.
        known: the names that exist.
        hint: the next step, such as "Run 'edgevit models' for the list."
    """

    def __init__(self, noun: str, name: str, known: Iterable[str], hint: str = ""):
        known = sorted(known)
        listed = suggest(name, known) or f"Known: {', '.join(known)}."
        self.message = " ".join(
            part for part in (f"unknown {noun} {name!r}.", listed, hint) if part
        )
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would print the repr
        return self.message


def find_named(noun: str, name: str, table: Mapping[str, Row], hint: str = "") -> Row:
    """The row of a table that is called so.

    Args:
        noun: what a row is, such as "model".
        name: of the row that is asked for.
        table: the rows by name.
        hint: the next step, if there is none.

    Raises:
        UnknownNameError: there is none; near misses are named.
    """
    try:
        return table[name]
    except KeyError:
        raise UnknownNameError(noun, name, table, hint) from None


def check_names(noun: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuses the first name that is not among those known.

    Raises:
        UnknownNameError: near misses are named.
    """
    for name in names:
        if name not in known:
            raise UnknownNameError(noun, name, known)


class DataError(InputError):
    """A dataset, an archive or an image that cannot be read."""


class ModelFileError(InputError):
    """Weights, a .keras file or an exported file that cannot be read."""


class MissingDependencyError(EdgevitError):
    """Packages that this verb needs are not installed.

    Args:
        packages: name to import, or several.
        extra: the extra of edgevit that brings them; several with commas between.
        purpose: what needs them.
    """

    def __init__(self, packages: str | Sequence[str], extra: str, purpose: str):
        names = [packages] if isinstance(packages, str) else packages
        listed = ", ".join(map(repr, names))
        nouns = ("package", "is") if len(names) == 1 else ("packages", "are")
        super().__init__(
            f"{purpose} needs the {nouns[0]} {listed}, which {nouns[1]} not installed. "
            f"{name_remedy(names, extra)}"
        )


def name_remedy(packages: Collection[str], extra: str) -> str:
    """How missing packages are had: a command, or another Python where none would bring them.

    Args:
        packages: names to import.
        extra: the extra of edgevit that brings them; several with commas between.
    """
    if "tensorflow" in packages and sys.version_info >= TENSORFLOW_BEFORE:
        here, last = sys.version_info[1], TENSORFLOW_BEFORE[1] - 1
        return (
            f"TensorFlow has no wheel for Python 3.{here}. Take Python 3.11 to 3.{last}, and there "
            f"run: pip install 'edgevit[{extra}]'"
        )
    return f"Run: pip install 'edgevit[{extra}]'"


@contextlib.contextmanager
def needed(package: str, extra: str, purpose: str) -> Iterator[None]:
    """Around an import of a package that edgevit does without; see :class:`MissingDependencyError`.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        yield
    except ImportError:
        raise MissingDependencyError(package, extra, purpose) from None


class MissingToolError(EdgevitError):
    """A program that this option needs is not installed."""


class ExportError(EdgevitError):
    """A converter, a quantiser or the audit refused."""


class RuntimeFailure(EdgevitError):
    """A runtime refused to load or to run a file."""


class KernelsEnded(RuntimeFailure):
    """A runtime's kernels ended the process that they ran in, which was one of their own."""


class OutputError(EdgevitError):
    """A file could not be written."""


def suggest(name: str, known: Iterable[str]) -> str:
    """``Did you mean this or that?``; empty where no known name is near."""
    near = find_near(name, known)
    return f"Did you mean {' or '.join(near)}?" if near else ""


def find_near(name: str, known: Iterable[str]) -> list[str]:
    """The known names that somebody may have meant: at most three, the likeliest first.

    Where it is the first word of some ("onnx" of "onnx-int8"), all of these are meant. A name in
    another case is the only one; others are left out if they are much less alike than
    the best.
    """
    wanted = name.lower()
    begun = [other for other in known if other.startswith(f"{wanted}-")]
    if wanted and begun:
        return begun
    alike = [(difflib.SequenceMatcher(None, wanted, other).ratio(), other) for other in known]
    best = max(alike, default=(0.0, ""))[0]
    limit = 1.0 if best == 1.0 else max(0.5, best - 0.25)
    kept = [pair for pair in alike if pair[0] >= limit]
    return [other for _, other in sorted(kept, key=lambda pair: (-pair[0], pair[1]))[:3]]
