"""Temporary folders that a killed process does not leave for ever.

Each is locked as long as its process lives. The next one that is opened removes those that nobody
holds any more; the system drops a lock with the process, also after SIGKILL. A file inside tells
such a folder from one of the user's that happens to have a similar name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgevit.base.errors import OutputError

PREFIX = "edgevit-"
MARK = ".edgevit-workspace"
YOUNG_S = 10.0  # a folder may be locked a moment after it was made


@contextlib.contextmanager
def open_workspace() -> Iterator[Path]:
    """A new temporary folder, gone afterwards; what dead processes left is cleared first.

    Raises:
        OutputError: there is no place for temporary files.
    """
    try:
        root = Path(tempfile.gettempdir())
        _clear(root)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (folder / MARK).touch()
    except OSError as error:
        raise OutputError(
            f"{os.environ.get('TMPDIR') or 'the folder for temporary files'}: cannot be written "
            f"({error.strerror or error}). Name another in TMPDIR."
        ) from None
    held = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _clear(root: Path) -> None:
    """Removes the folders of this user's that no living process holds."""
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            made_here = own and (folder / MARK).is_file()
            if not made_here or time.time() - found.st_mtime < YOUNG_S:
                continue
            held = _lock(folder)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds a folder; None: another process does, or nothing can be held here."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held
