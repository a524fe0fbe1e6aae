"""The weights that ship: their registry, and where on this machine or elsewhere each file lies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from edgevit.base.documents import from_plain
from edgevit.base.errors import ModelFileError, in_one_line
from edgevit.base.files import digest_path
from edgevit.base.packages import Need, is_importable, require

VARIABLE = "EDGEVIT_WEIGHTS"  # a folder like a checkout's artifacts/, or an address that serves one
REGISTRY = "registry.json"  # written by tools/write_registry.py
WEIGHTS = "weights.safetensors"
ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"  # of a checkout
PACKAGED = Path(__file__).resolve().parents[1] / "artifacts"  # of an installed wheel
POOCH = (Need("pooch", "tensorflow"),)


@dataclass(frozen=True)
class ShippedFile:
    """One file of the registry.

    Attributes:
        size_bytes: of the file.
        sha256: as hex.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Shipped:
    """A network with trained weights.

    Attributes:
        in_package: whether its files come inside the wheel.
        parameters: numbers in its weights.
        input_size: rows and columns of the raw picture.
        dataset: what its accuracy was counted on.
        top1: percent of the test images that the float model classifies right.
        files: by name; weights, activation ranges and the recipe.
    """

    in_package: bool
    parameters: int
    input_size: tuple[int, int]
    dataset: str
    top1: float
    files: dict[str, ShippedFile]

    @property
    def size_bytes(self) -> int:
        """Of its weights on disk."""
        return self.files[WEIGHTS].size_bytes


@cache
def list_shipped() -> dict[str, Shipped]:
    """Every network that ships with weights, by name, such as "shiftvit:nano"."""
    text = files("edgevit.models").joinpath(REGISTRY).read_text()
    return {name: from_plain(Shipped, row) for name, row in json.loads(text).items()}


def locate(name: str) -> Path | None:
    """The folder with a shipped network's files, where this machine has them; nothing is fetched.

    Looked for in the folder that EDGEVIT_WEIGHTS names, then in a checkout, in the installed
    package and in the cache.

    Args:
        name: such as "shiftvit:nano".
    """
    for place in _list_places():
        folder = place / folder_name(name)
        if (folder / WEIGHTS).is_file():
            return folder
    cached = _cache() / folder_name(name)
    return cached if name in list_shipped() and _is_intact(cached, list_shipped()[name]) else None


def folder_of(name: str) -> Path:
    """As :func:`locate`; what this machine lacks is fetched once, if EDGEVIT_WEIGHTS says where.

    Args:
        name: such as "shiftvit:nano".

    Raises:
        ModelFileError: no such weights ship, this machine has none and is told of no place, or the
            place does not have them.
        MissingDependencyError: pooch, which fetches them, is not installed.
    """
    found = locate(name)
    if found is not None:
        return found
    if name not in list_shipped():
        raise ModelFileError(
            f"{name}: no such weights. Those of {', '.join(list_shipped())} ship; others are "
            "trained with 'edgevit train', or named by their file."
        )
    place = os.environ.get(VARIABLE, "")
    if _is_address(place):
        return _fetch(name, place)
    relative = f"{folder_name(name)}/{WEIGHTS}"
    inside = [other for other, row in list_shipped().items() if row.in_package]
    reason = (
        f"{VARIABLE}={place} holds no {relative}"
        if place
        else f"its weights ({list_shipped()[name].size_bytes / 1e6:.1f} MB) do not come with the "
        f"package, as those of {', '.join(inside)} do"
    )
    raise ModelFileError(
        f"{name}: {reason}. Set {VARIABLE} to a folder that holds {relative}, such as artifacts of "
        "a checkout, or to an address that serves such a folder."
    )


def folder_name(name: str) -> str:
    """What the folder of a network is called: "shiftvit-nano" of "shiftvit:nano"."""
    return name.replace(":", "-")


def _list_places() -> Iterator[Path]:
    place = os.environ.get(VARIABLE, "")
    if place and not _is_address(place):
        yield Path(place).expanduser()
    yield ARTIFACTS
    yield PACKAGED


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _cache() -> Path:
    if not is_importable("pooch"):
        return Path(os.devnull)
    import pooch

    return Path(pooch.os_cache("edgevit")) / "weights"


def _is_intact(folder: Path, row: Shipped) -> bool:
    return all(
        (folder / name).is_file() and digest_path(folder / name) == file.sha256
        for name, file in row.files.items()
    )


def _fetch(name: str, address: str) -> Path:
    require("Fetching weights", POOCH)
    import pooch

    pooch.get_logger().setLevel("ERROR")
    folder = folder_name(name)
    wanted = {
        f"{folder}/{part}": f"sha256:{file.sha256}"
        for part, file in list_shipped()[name].files.items()
    }
    source = pooch.create(_cache(), f"{address.rstrip('/')}/", registry=wanted, retry_if_failed=2)
    try:
        for part in wanted:
            source.fetch(part)
    except (OSError, ValueError) as error:  # of requests, and of a digest that is another's
        raise ModelFileError(
            f"{name}: its weights cannot be fetched from {VARIABLE}={address} "
            f"({in_one_line(error, 200)}). Check the address, or name a folder."
        ) from None
    return _cache() / folder
