"""Arrays that are kept between runs, in a folder of the user's cache.

An entry is a file: the SHA-256 of the rest, then arrays by name. It appears whole, one that changed
is deleted when it is read, and the oldest go when all of them grow too large. Whatever goes wrong
with the folder, an entry is not there: nothing depends on one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.base.bounds import read_bounded
from edgevit.base.errors import InputError, ModelFileError, OutputError
from edgevit.base.files import write_whole

VARIABLE = "EDGEVIT_CACHE"
SUFFIX = ".kept"
LIMIT_BYTES = 256 << 20
# What numpy raises of bytes that nobody here wrote, though their digest is right.
FORGED = (ValueError, KeyError, TypeError, EOFError, OSError, MemoryError, zipfile.BadZipFile)
NAMES = "arr_0"  # of the arrays behind it, whatever characters are in them


@dataclass(frozen=True)
class Store:
    """A folder of kept arrays.

    Attributes:
        folder: made when something is kept.
        limit_bytes: of all entries; the ones that were not read for longest go first.
    """

    folder: Path
    limit_bytes: int = LIMIT_BYTES

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of an entry by name; None: there is none, or it was damaged and is gone."""
        path = self._path(key)
        found = None
        with contextlib.suppress(InputError):
            found = _decode(read_bounded(path, self.limit_bytes, ModelFileError))
        with contextlib.suppress(OSError):
            path.unlink() if found is None else os.utime(path)
        return found

    def write(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps arrays, unless they take a quarter of the room or cannot be written."""
        data = _encode(arrays)
        if len(data) > self.limit_bytes // 4:
            return
        with contextlib.suppress(OutputError, OSError):
            write_whole(self._path(key), data)
            self._make_room()

    def entries(self) -> list[Path]:
        """The entries, the one that was read last first."""
        with contextlib.suppress(OSError):
            paths = list(self.folder.glob(f"*{SUFFIX}"))
            return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
        return []

    def clear(self) -> int:
        """Deletes all entries; how many there were.

        Raises:
            OutputError: one cannot be deleted.
        """
        paths = self.entries()
        try:
            for path in paths:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be cleared ({error.strerror}).") from None
        return len(paths)

    @property
    def size_bytes(self) -> int:
        """Of all entries."""
        return sum(path.stat().st_size for path in self.entries())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _make_room(self) -> None:
        total = 0
        for path in self.entries():
            total += path.stat().st_size
            if total > self.limit_bytes:
                path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where this user's cached files lie: EDGEVIT_CACHE, else where the system keeps such files."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    home = Path.home()
    places = {
        "darwin": home / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"),
    }
    usual = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return places.get(sys.platform, usual) / "edgevit"


def _encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    parts = [np.ascontiguousarray(values) for values in arrays.values()]
    np.savez(stream, np.array(list(arrays), dtype=np.str_), *parts)
    body = stream.getvalue()
    return hashlib.sha256(body).digest() + body


def _decode(data: bytes) -> dict[str, np.ndarray] | None:
    """The arrays by name; None for bytes that are not as they were written."""
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    with contextlib.suppress(*FORGED), np.load(io.BytesIO(body), allow_pickle=False) as file:
        return {str(name): file[f"arr_{place}"] for place, name in enumerate(file[NAMES], 1)}
    return None
