"""Files whose names fit a pattern, without walking a whole disk for one."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from edgevit.base.bounds import ENTRIES, Refusal

ANY_DEPTH = "**"


def find_paths(
    folder: Path, pattern: str, name: str, kind: Refusal, most: int = ENTRIES
) -> list[str]:
    """Files and folders that fit a pattern, in order of their names.

    Args:
        folder: that the pattern is relative to.
        pattern: ``*``, ``?`` and ``[...]`` in a name, ``**`` for folders at any depth. As in a
            shell, a name that begins with a dot is found only by its dot; links to folders are
            followed by ``*``, not by ``**``.
        name: how errors call the pattern.
        kind: of error.
        most: entries of folders that may be looked at.

    Raises:
        InputError: there are more.
    """
    walk = _Walk(name, kind, most)
    start, *parts = (folder / pattern).parts
    return sorted({str(path) for path in walk.find(Path(start), tuple(parts))})


class _Walk:
    """A search that ends when it has looked at too much."""

    def __init__(self, name: str, kind: Refusal, most: int):
        self._name, self._kind, self._most, self._seen = name, kind, most, 0

    def find(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
        """What fits the parts of a pattern below a folder."""
        if not parts:
            yield folder
            return
        part, rest = parts[0], parts[1:]
        if part == ANY_DEPTH:
            while rest[:1] == (ANY_DEPTH,):  # of which one says the same
                rest = rest[1:]
            for inner in self._descend(folder):
                yield from self.find(inner, rest or ("*",))
        elif not any(sign in part for sign in "*?["):
            if os.path.lexists(folder / part):
                yield from self.find(folder / part, rest)
        else:
            for entry in self._list(folder):
                if _fits(entry.name, part) and (not rest or os.path.isdir(entry.path)):
                    yield from self.find(folder / entry.name, rest)

    def _descend(self, folder: Path) -> Iterator[Path]:
        """A folder and all folders below it."""
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += [
                folder / entry.name
                for entry in self._list(folder)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]

    def _list(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                self._seen += 1
                if self._seen > self._most:
                    raise self._kind(
                        f"{self._name}: more than {self._most:,} files would be looked at. Name a "
                        "folder, with fewer stars."
                    )
                yield entry


def _fits(name: str, part: str) -> bool:
    return fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
