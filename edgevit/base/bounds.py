"""What a file may ask of this machine: checked before anything of it is read or allocated.

Every limit stands here, and every reader of a user's files goes through these functions, so that
a device, a pipe, a lying header or a bomb costs one line and no memory.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from edgevit.base.errors import InputError

Refusal = type[InputError]

MODEL_BYTES = 2 << 30  # of one exported file: flatbuffers and protobuf end there
# Of float32 weights in one that is written; graph and evidence come on top.
WRITTEN_BYTES = MODEL_BYTES - (64 << 20)
WEIGHTS_BYTES = 64 << 30  # of one file of weights, which are read array by array
DOCUMENT_BYTES = 256 << 20  # of one JSON, TOML or text file
TOML_BYTES = 4 << 20  # of one TOML file, whose parser takes a second for each of them
NESTING = 200  # objects and lists inside one another, in a document
CLASSES = 1_000_000  # that a dataset may have
SAMPLE_BYTES = 256 << 20  # of one input, for one sample
LAYER_BYTES = 1 << 30  # of what one layer returns for one sample
GOLDEN_INPUTS = 4096  # that a file may ask to be drawn; 256 are written
DRAWN_BYTES = 256 << 20  # of all of them, where 32 samples take less
UNPACKED_BYTES = 1 << 30  # what may come of a file that is packed by more than PACKED
ENTRIES = 200_000  # of folders, that one pattern of file names may look at
PACKED = 100  # times; photographs reach 2, blank masks 1000


def check_regular(path: Path, most: int, kind: Refusal) -> None:
    """Refuses what is not one file of a bounded size, links to it included.

    Args:
        path: that exists, and is no folder.
        most: bytes.
        kind: of error.

    Raises:
        InputError: a device, a pipe or a socket, which may never end; or more bytes.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror}).") from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, a pipe or a socket"
        raise kind(f"{path}: cannot be read (it is {what}, and no file).")
    if found.st_size > most:
        raise kind(f"{path}: {found.st_size:,} bytes, larger than the limit of {most:,}.")


def read_bounded(path: Path, most: int, kind: Refusal) -> bytes:
    """The bytes of one file.

    Raises:
        InputError: as :func:`check_regular`, or it cannot be read.
    """
    check_regular(path, most, kind)
    try:
        return path.read_bytes()
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror}).") from None


def check_unpacked(name: str, packed: int, unpacked: int, kind: Refusal) -> None:
    """Refuses a packed file that would fill the memory.

    Args:
        name: how errors call it.
        packed: its bytes.
        unpacked: what it says will come of it.
        kind: of error.

    Raises:
        InputError: it is packed suspiciously well, or more than fits into memory.
    """
    if unpacked > UNPACKED_BYTES and unpacked > PACKED * packed:
        raise kind(
            f"{name}: would unpack {packed:,} bytes to {unpacked / 1e9:.1f} GB. Photographs and "
            "weights are not packed so well; it is refused."
        )
    check_memory(name, unpacked, kind)


def check_array(name: str, shape: Sequence[int], itemsize: int, held: int, kind: Refusal) -> None:
    """Refuses a header that promises more than is there.

    Args:
        name: how errors call the array.
        shape: that the header declares.
        itemsize: bytes of one value.
        held: bytes that follow the header.
        kind: of error.

    Raises:
        InputError: they are fewer, or do not fit into memory.
    """
    wanted = math.prod(shape) * itemsize
    if min(shape, default=0) < 0 or wanted > held:
        raise kind(
            f"{name}: declares the shape {tuple(shape)}, {wanted:,} bytes, and holds {held:,}."
        )
    check_memory(name, wanted, kind)


def check_memory(name: str, size_bytes: int, kind: Refusal) -> None:
    """Refuses what would take more than half of the memory that is free.

    Raises:
        InputError: it would.
    """
    free = free_memory()
    if size_bytes > free // 2:
        raise kind(
            f"{name}: would take {size_bytes / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            "free. Give less at once, or close other programs."
        )


def free_memory() -> int:
    """Bytes that can be had without swapping, within the limit of a container."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(int(line.split()[1]) * 1024, _contained())
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30


def _contained() -> int:
    """What the control group of a container leaves."""
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        most = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.split()[0] == "file")
        return max(0, most - used + cached)  # cached files make room
    return 1 << 62


def is_nested(value: object, most: int = NESTING) -> bool:
    """Whether objects and lists lie deeper inside one another than ``most``; without recursion."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
