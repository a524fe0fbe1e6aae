"""Digests of files that are read once, and again only when their size or time changed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from edgevit.base.documents import read_object, to_json
from edgevit.base.errors import InputError, OutputError
from edgevit.base.files import digest_path, write_whole

PACKAGE = Path(__file__).parents[1]
SHOWN_ONLY = ("cli", "reports")  # rooms that change nothing of what is measured


class Digests:
    """sha256 of files by place, size and time of change.

    Args:
        memory: file that remembers them between runs; one that cannot be read is empty.
    """

    def __init__(self, memory: Path):
        self._memory = memory
        self._known: dict[str, list[object]] = {}
        self._seen: dict[str, list[object]] = {}
        with contextlib.suppress(InputError):
            self._known = read_object(memory, "the digests")

    def of_file(self, path: Path) -> str:
        """sha256 of one file, as hex."""
        found = path.stat()
        place = str(path.resolve())
        stamp = [found.st_size, found.st_mtime_ns, found.st_ino]
        entry = self._known.get(place)
        if not isinstance(entry, list) or entry[:-1] != stamp:
            entry = [*stamp, digest_path(path)]
        self._known[place] = self._seen[place] = entry
        return str(entry[-1])

    def of_path(self, path: Path) -> str:
        """Of a file, or of a folder's relative names and contents in order."""
        if path.is_dir():
            files = sorted(entry for entry in path.rglob("*") if entry.is_file())
            return self.of_files((file.relative_to(path).as_posix(), file) for file in files)
        return self.of_file(path)

    def of_files(self, files: Iterable[tuple[str, Path]]) -> str:
        """Of several files with the names that they go by."""
        digest = hashlib.sha256()
        for name, file in files:
            digest.update(f"{name}\0{self.of_file(file)}\n".encode())
        return digest.hexdigest()

    def of_package(self) -> str:
        """Of this package's own code and tables: a checkout changes between versions."""
        files = sorted(
            file
            for file in PACKAGE.rglob("*")
            if file.suffix in (".py", ".json")
            and file.relative_to(PACKAGE).parts[0] not in SHOWN_ONLY
        )
        return self.of_files((file.relative_to(PACKAGE).as_posix(), file) for file in files)

    def keep(self) -> None:
        """Remembers what was asked for; a folder that cannot be written costs time alone."""
        with contextlib.suppress(OutputError):
            write_whole(self._memory, to_json(self._seen).encode())


def find_code(module: str, folder: Path) -> list[Path]:
    """The files of a module's package, in a folder or else among the installed ones.

    Args:
        module: such as "nets.small".
        folder: that is looked into first.
    """
    package = module.split(".")[0]
    for place in (folder / package, folder / f"{package}.py"):
        if place.exists():
            return sorted(place.rglob("*.py")) if place.is_dir() else [place]
    with contextlib.suppress(ImportError, ValueError):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin)
            return (
                sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
            )
    return []
