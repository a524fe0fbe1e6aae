"""A digest inside the file itself: one changed bit shows even without a manifest beside it.

The seal is a marker followed by 64 hexadecimal digits somewhere in the file. It is the sha256 of
the whole file with these digits set to zero.
"""

from __future__ import annotations

import hashlib
import json
import re
from mmap import mmap
from pathlib import Path

from edgevit.base.files import digest_path

SEAL_KEY = "edgevit.seal"
# What else every export of ours holds. A file that has one of these and no seal has lost it.
OWN_KEYS = (b"edgevit.manifest", b"edgevit.reference")
LOST = (
    "its seal is missing, and files of edgevit have one: it was damaged, or written anew by "
    "another tool"
)
_MARKER = b"edgevit-seal-sha256:"
BLANK = (_MARKER + b"0" * 64).decode()  # what an exporter embeds before sealing
_SEAL = re.compile(re.escape(_MARKER) + rb"([0-9a-f]{64})")


def seal(path: Path) -> None:
    """Fills in the seal of a finished file that holds a blank one; a folder gets a file for it.

    Raises:
        ValueError: there is not exactly one blank seal in the file.
    """
    if path.is_dir():
        place = _seal_file(path)
        place.write_text(_folder_seal(path, place))
        return
    blank = BLANK.encode()
    with path.open("r+b") as stream, mmap(stream.fileno(), 0) as data:
        start = data.find(blank)
        if start < 0 or data.find(blank, start + 1) >= 0:
            raise ValueError(f"{path.name}: expected one blank seal, found none or several")
        digits = _MARKER + hashlib.sha256(data).hexdigest().encode()
        data[start : start + len(blank)] = digits


def find_damage(path: Path) -> str:
    """Why a file or folder is not as it was sealed; empty if it is.

    A file of another tool has no seal, and is not judged here: the answer is empty too. A seal is
    missed wherever a manifest or a reference of ours is.
    """
    if path.is_dir():
        return _find_folder_damage(path)
    data = path.read_bytes()
    found = list(_SEAL.finditer(data))
    if not found and _MARKER not in data:
        return LOST if any(key in data for key in OWN_KEYS) else ""
    if len(found) != 1:
        return "its seal is damaged"
    digest = hashlib.sha256(memoryview(data)[: found[0].start()])
    digest.update(BLANK.encode())
    digest.update(memoryview(data)[found[0].end() :])
    if digest.hexdigest().encode() == found[0][1]:
        return ""
    return "its content is not what was sealed at export: bytes changed since"


def is_sealed(path: Path) -> bool:
    """Whether a file or folder holds a seal, whole or not: whether it is one of ours."""
    if path.is_dir():
        return _seal_file(path).exists()
    return _MARKER in path.read_bytes()


def _find_folder_damage(folder: Path) -> str:
    place = _seal_file(folder)
    if not place.exists():
        own = [place.with_name(f"{key.decode()}.json") for key in OWN_KEYS]
        return LOST if any(file.exists() for file in own) else ""
    if place.read_bytes() == _folder_seal(folder, place).encode():
        return ""
    return "its content is not what was sealed at export: files changed since"


def _folder_seal(folder: Path, place: Path) -> str:
    return json.dumps(_MARKER.decode() + digest_path(folder, without=place))


def _seal_file(folder: Path) -> Path:
    return folder / "assets.extra" / f"{SEAL_KEY}.json"
