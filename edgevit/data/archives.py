"""Pictures in folders and archives of class folders, listed without trusting what is inside.

Nothing is ever unpacked to disk, and an archive whose member names leave its own folder is refused.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from edgevit.base.bounds import check_regular
from edgevit.base.errors import DataError, in_one_line
from edgevit.data.images import MAX_FILE_BYTES, is_image_name
from edgevit.data.npy import HEADER_ERRORS

SPLITS = ("train", "test")
MOST_ARCHIVE_BYTES = 1 << 40  # it is read member by member
# Name, bytes and contents of what an archive holds; no contents: it is no file.
Member = tuple[str, int, Callable[[], bytes] | None]

# What the standard library raises on a damaged archive; RuntimeError: an encrypted zip member.
READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    MemoryError,
    NotImplementedError,
    *HEADER_ERRORS,
)


@dataclass(frozen=True)
class ImageFile:
    """A picture in a folder or an archive: split ("" where there is none), class and name."""

    split: str
    label: str
    name: str
    read: Callable[[], bytes]


def find_archive(path: Path) -> Path:
    """The path itself, or the one archive in a folder that holds no class folder."""
    if not path.exists():
        raise DataError(f"{path}: no such file or directory.")
    if path.is_dir() and not any(entry.is_dir() for entry in path.iterdir()):
        endings = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip", ".npz")
        archives = sorted(entry for entry in path.iterdir() if entry.name.endswith(endings))
        if len(archives) == 1:
            return archives[0]
    return path


def _classify(name: str, read: Callable[[], bytes], channels: int) -> ImageFile | None:
    """Reads split and class out of a member's path; None for anything that is no image."""
    parts = PurePosixPath(name).parts
    if not is_image_name(name, channels) or parts[-1].startswith("."):
        return None
    parts = parts[:-1]
    for index, part in enumerate(parts):
        if part.lower() in SPLITS and index + 1 < len(parts):
            return ImageFile(part.lower(), parts[index + 1], name, read)
    if not parts:
        return None
    return ImageFile("", parts[-1], name, read)


def list_folder(root: Path, channels: int = 3) -> Iterator[ImageFile]:
    """Every picture of so many channels below a folder, in the order of their paths."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            file = _classify(path.relative_to(root).as_posix(), path.read_bytes, channels)
            if file is not None:
                _check_size(root, file.name, path.stat().st_size)
                yield file


def list_archive(path: Path, channels: int = 3) -> Iterator[ImageFile]:
    """Every picture of so many channels in a tar or zip, in the archive's order.

    Raises:
        DataError: no archive, damaged, or a member that points outside.
    """
    check_regular(path, MOST_ARCHIVE_BYTES, DataError)
    try:
        if tarfile.is_tarfile(path):
            members = _list_tar(path)
        elif zipfile.is_zipfile(path):
            members = _list_zip(path)
        else:
            raise DataError(
                f"{path}: neither a directory nor a readable tar, zip or npz file. "
                "It may be cut short."
            )
        for name, size, read in members:
            _check_member(path, name, size)
            file = None if read is None else _classify(name, read, channels)
            if file is not None:
                yield file
    except READ_ERRORS as error:
        raise DataError(f"{path}: the archive is damaged ({in_one_line(error)}).") from None


def _check_size(source: Path, name: str, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(
            f"{source}: {name!r} is larger than the limit of {MAX_FILE_BYTES >> 20} MiB."
        )


def _check_member(archive: Path, name: str, size: int) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
        raise DataError(
            f"{archive}: the member {name!r} points outside the archive's own folder. "
            "The archive is refused; nothing was unpacked."
        )
    _check_size(archive, name, size)


def _list_tar(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for member in archive:
            read = partial(_read_tar, archive, member) if member.isreg() else None
            yield member.name, member.size, read
        _check_tar_end(path, archive)


def _check_tar_end(path: Path, archive: tarfile.TarFile) -> None:
    """Refuses a tar that does not end in its block of zeros, or whose checksum is wrong.

    tarfile takes a damaged or missing header behind the first one for the end of the archive, so
    half a dataset would pass for a whole one.
    """
    stream = archive.fileobj
    assert stream is not None  # it was opened by name
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{path}: the archive is damaged (cut short, or a header is unreadable).")
    while stream.read(1 << 20):  # gzip, bzip2 and xz compare their checksum at the very end
        pass


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream is not None else b""


def _list_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            read = None if member.is_dir() else partial(archive.read, member)
            yield member.filename, member.file_size, read


def read_file(file: ImageFile, source: str) -> bytes:
    """The bytes of one picture.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return file.read()
    except READ_ERRORS as error:
        raise DataError(f"{source}/{file.name}: cannot be read ({in_one_line(error)}).") from None
