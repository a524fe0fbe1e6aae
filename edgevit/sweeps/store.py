"""The folder of a sweep: a folder for each cell, with its document and its file.

::

    cells/MODEL/TARGET/cell.json    and the exported file beside it
    cells/MODEL/.TARGET.lock        while a run works on the cell; the system drops the lock with it
    index.json                      which cells the last run asked for
    digests.json                    of the files that it read

A cell's folder appears whole, by being renamed. Whoever holds its lock alone writes it, so two
runs at once share the work, and what a killed run left is cleared by the next that gets the lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgevit.base.documents import VERSION, read_document, read_object, to_json, to_plain
from edgevit.base.errors import EdgevitError, ModelFileError, OutputError
from edgevit.base.files import check_writable, write_whole
from edgevit.core.cells import CellResult

DOCUMENT = "cell.json"
INDEX = "index.json"
LOCK = ".lock"
NEW, OLD = ".new", ".old"


class Store:
    """The results in a folder.

    Args:
        folder: made if missing.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        check_writable(folder)
        (folder / "cells").mkdir(exist_ok=True)

    def place(self, model: str, target: str) -> Path:
        """Where a cell's document and file lie."""
        return self.folder / "cells" / model / target

    def read(self, model: str, target: str) -> CellResult | None:
        """What is known of a cell; None: nothing, or nothing that can be read."""
        place = self.place(model, target)
        with contextlib.suppress(EdgevitError):
            if (place / DOCUMENT).is_file():
                result = read_cell(place / DOCUMENT)
                there = not result.file or (place / result.file).exists()
                return result if there else None
        return None

    @contextlib.contextmanager
    def hold(self, model: str, target: str) -> Iterator[bool]:
        """Whether a cell is this run's own, as long as the context lasts."""
        held = self.take(model, target)
        try:
            yield held is not None
        finally:
            if held is not None:
                self.release(model, target, held)

    def take(self, model: str, target: str) -> int | None:
        """A descriptor that locks a cell; None: another run has it. Clears what dead ones left."""
        place = self.place(model, target)
        place.parent.mkdir(parents=True, exist_ok=True)
        held = _lock(_lock_path(place))
        if held is not None:
            _settle(place)
        return held

    def release(self, model: str, target: str, held: int) -> None:
        """Gives a cell back."""
        _lock_path(self.place(model, target)).unlink(missing_ok=True)  # first, so that none waits
        os.close(held)

    def stage(self, model: str, target: str) -> Path:
        """A new folder beside a cell's place, for whoever holds the cell."""
        place = self.place(model, target)
        staged = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}{NEW}")
        staged.mkdir(parents=True)
        return staged

    def publish(self, result: CellResult, staged: Path) -> None:
        """Puts a staged folder, with the document, into the place of the cell that is held.

        Raises:
            OutputError: it cannot be written.
        """
        place = self.place(result.model, result.target)
        old = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}{OLD}")
        document = {"version": VERSION, **to_plain(result)}
        try:
            write_whole(staged / DOCUMENT, (to_json(document, indent=1) + "\n").encode())
            if place.exists():
                place.rename(old)
            staged.rename(place)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"{place}: cannot be written ({error.strerror or error}).") from None

    def clear(self) -> None:
        """Removes what killed runs left of cells that nobody holds."""
        for lock in (self.folder / "cells").glob(f"*/.*{LOCK}"):
            model, target = lock.parent.name, lock.name[1 : -len(LOCK)]
            with self.hold(model, target):
                pass

    def write_index(self, title: str, cells: Sequence[tuple[str, str]]) -> None:
        """Says which cells a plan asks for; results of others stay and are not shown."""
        document = {"version": VERSION, "title": title, "cells": [list(cell) for cell in cells]}
        write_whole(self.folder / INDEX, (to_json(document) + "\n").encode())


def read_cell(path: Path) -> CellResult:
    """The document of one cell.

    Raises:
        ModelFileError: it cannot be read.
    """
    return read_document(CellResult, read_object(path, "the cell"), str(path), "the cell")


def read_sweep(folder: Path) -> dict[tuple[str, str], CellResult]:
    """The cells of a folder's last run that have a result, by (model, target).

    Raises:
        ModelFileError: it is no folder of a sweep.
    """
    index = folder / INDEX
    if not index.is_file():
        raise ModelFileError(f"{folder}: holds no results of 'edgevit sweep' (no {INDEX}).")
    names = read_object(index, "the index").get("cells")
    if not isinstance(names, list) or not all(map(_is_cell, names)):
        raise ModelFileError(f"{index}: the index is damaged (`cells`).")
    found = {}
    for model, target in names:
        path = folder / "cells" / str(model) / str(target) / DOCUMENT
        if path.is_file():
            found[str(model), str(target)] = read_cell(path)
    return found


def _is_cell(names: object) -> bool:
    """Whether a row of an index is a model and a target: names of folders, which lead nowhere."""
    if not isinstance(names, list) or len(names) != 2:
        return False
    return all(isinstance(name, str) and Path(name).name == name != ".." for name in names)


def _lock_path(place: Path) -> Path:
    return place.with_name(f".{place.name}{LOCK}")


def _lock(path: Path) -> int | None:
    """A descriptor that holds a lock file; None: another process does.

    A file that was removed in between is no lock any more, so its place is looked at again.
    """
    try:
        import fcntl
    except ImportError:  # Windows: one run at a time
        return os.open(path, os.O_RDWR | os.O_CREAT)
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(held), path.stat()):
                return held
        except BlockingIOError:
            os.close(held)
            return None
        except FileNotFoundError:
            pass
        os.close(held)


def _settle(place: Path) -> None:
    """Finishes or undoes what a killed run had begun with a cell."""
    for old in place.parent.glob(f".{place.name}.*{OLD}"):
        if not place.exists() and (old / DOCUMENT).is_file():
            old.rename(place)
        else:
            shutil.rmtree(old, ignore_errors=True)
    for staged in place.parent.glob(f".{place.name}.*{NEW}"):
        shutil.rmtree(staged, ignore_errors=True)
