"""Models that Keras saved as .keras: a zip archive, or the folder that it unpacks to."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.base.bounds import DOCUMENT_BYTES, check_unpacked, read_bounded
from edgevit.base.documents import parse_json
from edgevit.base.errors import ModelFileError
from edgevit.base.files import size_path
from edgevit.frontend.sources.building import build_from_config, explained
from edgevit.frontend.sources.configs import (
    COMPILED,
    check_code,
    check_form,
    is_own,
    keep_losses,
    walk_objects,
    without_training,
)
from edgevit.frontend.sources.keras2_config import is_keras2
from edgevit.frontend.sources.publishers import import_publishers
from edgevit.models.bounded import bounded_weights

if TYPE_CHECKING:
    import keras

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
DAMAGES = (
    *(KeyError, ValueError, RuntimeError, OSError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_archive(path: Path, trust: bool) -> keras.Model:
    """Builds the model inside a .keras archive or folder, and fills it.

    Args:
        path: the archive, or the folder.
        trust: whether it may run Python code that it contains.

    Raises:
        ModelFileError: damaged, code that nobody trusted, or parts that Keras does not know.
        MissingDependencyError: classes of a publisher's package that is not installed.
    """
    held = _check_members(path)
    found = _read_json(path, CONFIG)
    config = without_training(found)
    check_form(str(path), config)
    check_code(str(path), config, trust)
    import_publishers(str(path), config)
    told = _read_json(path, METADATA).get("keras_version") if _has(path, METADATA) else "3"
    version = None if told is None else str(told)
    if path.is_file() and path.suffix != ".keras":
        raise ModelFileError(
            f"{path}: is a .keras file under another name, and Keras goes by the name. Call it "
            f"{path.with_suffix('.keras').name}."
        )
    inner = without_training(found.get("config")) != found.get("config")
    own = any(is_own(node) for node in walk_objects(config))
    in_parts = is_keras2(version) or (inner and path.is_file()) or own
    read = _read_in_parts if in_parts else _read_whole
    with bounded_weights(str(path), held):
        model = read(path, config, version, trust)
    keep_losses(model, found.get(COMPILED))
    return model


def _read_whole(
    path: Path, config: dict[str, Any], version: str | None, trust: bool
) -> keras.Model:
    import keras

    with explained(str(path), lambda: config):
        return keras.saving.load_model(path, compile=False, safe_mode=not trust)


def _read_in_parts(
    path: Path, config: dict[str, Any], version: str | None, trust: bool
) -> keras.Model:
    """Builds, then fills: for Keras 2, where a model inside was compiled on its own, and for
    classes of ours, which are told from others of their names."""
    import keras

    model = build_from_config(str(path), config, version, trust)
    with explained(str(path), lambda: config):
        keras.saving.load_weights(model, path / WEIGHTS if path.is_dir() else path)
    return model


def _check_members(path: Path) -> int:
    """Bytes that the parts of an archive or folder unpack to.

    Raises:
        ModelFileError: damaged, or more than fits into memory.
    """
    if path.is_dir():
        return size_path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGES as error:
        raise ModelFileError(f"{path}: the .keras file is damaged ({error}).") from None
    for member in members:
        name = f"{path}: {member.filename}"
        check_unpacked(name, member.compress_size, member.file_size, ModelFileError)
    return sum(member.file_size for member in members)


def _has(path: Path, member: str) -> bool:
    if path.is_dir():
        return (path / member).is_file()
    with zipfile.ZipFile(path) as archive:
        return member in archive.namelist()


def _read_json(path: Path, member: str) -> dict[str, Any]:
    try:
        if path.is_dir():
            text = read_bounded(path / member, DOCUMENT_BYTES, ModelFileError)
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(member)
    except DAMAGES as error:
        raise ModelFileError(f"{path}: the .keras file is damaged ({error}).") from None
    found = parse_json(text, str(path), f"the {member} inside")
    if not isinstance(found, dict):
        raise ModelFileError(f"{path}: the .keras file is damaged ({member} is no object).")
    return found
