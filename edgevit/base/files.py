"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from pathlib import Path

from edgevit.base.errors import OutputError
from edgevit.base.libc import call_libc

_PARTIAL = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.partial$")
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux, see rename(2)


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file beside its final place, flushes it to disk, then renames it.

    Args:
        path: final place; an older file there is replaced at once.
        data: the whole content.

    Raises:
        OutputError: the folder cannot be made, is not writable or is full. Nothing is left behind.
    """
    partial = _open_place(path)
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise _explain(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def move_whole(source: Path, path: Path) -> None:
    """Copies a finished folder beside its final place, then renames it; the source stays.

    Raises:
        OutputError: as :func:`write_whole`.
    """
    partial = _open_place(path)
    old = _partial_name(path)
    try:
        shutil.copytree(source, partial)
        if path.is_dir() and not path.is_symlink() and _exchange(partial, path):
            return  # at no moment there was neither
        if path.is_dir():
            path.rename(old)
        partial.rename(path)
    except (OSError, shutil.Error) as error:
        if old.exists() and not path.exists():
            old.rename(path)
        raise _explain(path, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two entries in one step; whether the system and its file system can."""
    places = (_HERE, os.fsencode(one), _HERE, os.fsencode(other))
    return call_libc("renameat2", *places, _EXCHANGE) == 0


def check_writable(folder: Path) -> None:
    """Makes a folder and proves that a file can be written there, before long work begins.

    Raises:
        OutputError: it cannot.
    """
    probe = _open_place(folder / "probe")
    try:
        probe.write_bytes(b"edgevit")
    except OSError as error:
        raise _explain(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def check_place(path: Path, folder: bool = False) -> None:
    """Proves that a file, or a folder, can be written to its place before long work begins.

    Args:
        path: that will be written; an older one is replaced.
        folder: whether it will be a folder.

    Raises:
        OutputError: something of the other kind is there, or as :func:`check_writable`.
    """
    if folder and path.is_symlink():
        raise OutputError(
            f"{path}: cannot be written (a link is where a folder would be). Give the place that "
            "it leads to with --out, or remove it."
        )
    if path.exists() and path.is_dir() != folder:
        there, wanted = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise OutputError(
            f"{path}: cannot be written ({there} is where {wanted} would be). Move it, or choose "
            "another place with --out."
        )
    check_writable(path.parent)


def digest_path(path: Path, without: Path | None = None) -> str:
    """sha256 of a file, or of a folder's relative names and contents in order, as hex.

    Args:
        path: file or folder.
        without: a file in the folder that does not count.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
            if file == without:
                continue
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size_path(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size


def _open_place(path: Path) -> Path:
    """Makes the folder, clears what killed processes left for this name, names a partial file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for entry in path.parent.iterdir():
            match = _PARTIAL.match(entry.name)
            if match and not _is_running(int(match["pid"])):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
    except OSError as error:
        raise _explain(path, error) from None
    return _partial_name(path)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _explain(path: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(
        f"{path}: cannot be written ({reason}). Choose another place with --out, or free space."
    )
