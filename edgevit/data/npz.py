"""Arrays out of .npz files, whose headers are checked before anything is allocated."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgevit.base.bounds import check_array, check_regular, check_unpacked
from edgevit.base.errors import DataError, InputError, in_one_line
from edgevit.data.archives import READ_ERRORS
from edgevit.data.npy import read_header

SUFFIX = ".npy"  # of the members
MOST_BYTES = 1 << 40  # of the file: it is read member by member


class NpzReader:
    """The arrays of an .npz file, each read when it is asked for.

    Args:
        path: the file, for errors.
        archive: opened.

    Attributes:
        files: the keys.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self._path, self._archive = path, archive
        self._members = {
            member.filename.removesuffix(SUFFIX): member for member in archive.infolist()
        }
        self.files = tuple(self._members)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def __getitem__(self, key: str) -> np.ndarray:
        """One array.

        Raises:
            KeyError: there is none of this key.
            DataError: it promises more than it holds, does not fit into memory, or holds objects.
        """
        if key not in self._members:
            raise KeyError(f"{key} is not a file in the archive")
        member = self._members[key]
        name = f"{self._path}: {key!r}"
        check_unpacked(name, member.compress_size, member.file_size, DataError)
        with self._archive.open(member) as stream:
            shape, by_columns, dtype = read_header(stream)
            if dtype.hasobject:
                raise DataError(f"{name} holds Python objects, which are not read.")
            check_array(name, shape, dtype.itemsize, member.file_size - stream.tell(), DataError)
            data = stream.read()
        values = np.frombuffer(bytearray(data), dtype, int(np.prod(shape, dtype=np.int64)))
        return values.reshape(shape, order="F" if by_columns else "C")


@contextmanager
def open_npz(path: Path) -> Iterator[NpzReader]:
    """The arrays of an .npz file, by key.

    Raises:
        DataError: no .npz, or a damaged one, also where that shows when an array is read.
    """
    try:
        check_regular(path, MOST_BYTES, DataError)
        with zipfile.ZipFile(path) as archive:
            yield NpzReader(path, archive)
    except InputError:
        raise
    except READ_ERRORS as error:
        raise DataError(f"{path}: the npz file is damaged ({in_one_line(error, 160)}).") from None
