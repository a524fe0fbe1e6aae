"""Writes a kit: a folder that runs an exported file where edgevit is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.errors import ConfigError, ModelFileError, OutputError
from edgevit.base.files import check_place, move_whole, size_path
from edgevit.base.loading import load_attribute
from edgevit.base.progress import Status, tells_status
from edgevit.base.workspace import open_workspace
from edgevit.core.format import Format
from edgevit.formats.registry import detect_format, read_metadata, refuse_damage
from edgevit.kits.place import MARKS, Files, Place
from edgevit.kits.subject import Subject
from edgevit.kits.table import find_place


@dataclass(frozen=True)
class Kit:
    """A kit that was written.

    Attributes:
        path: its folder.
        place: where it runs.
        files: their names, in order.
        size_bytes: of all of them.
    """

    path: Path
    place: Place
    files: tuple[str, ...]
    size_bytes: int


@tells_status
def deploy(
    file: str | Path,
    to: str,
    out: str | Path | None = None,
    *,
    force: bool = False,
    status: Status | None = None,
) -> Kit:
    """Writes a folder that runs an exported file in another place, with a self-test.

    Args:
        file: a .tflite or .onnx file of ``edgevit export``.
        to: the place, a key of :data:`edgevit.kits.table.PLACES`.
        out: the folder; None: ``kits/<file>-<place>``.
        force: replace a kit that is there, or an empty folder.
        status: called with a line about what is being done.

    Raises:
        UnknownNameError: no such place.
        ConfigError: the file cannot run there; the message says what to export instead.
        ModelFileError: no such file, damaged, or of another tool.
        OutputError: the folder is there already, is no kit, or cannot be written.
        MissingDependencyError: a runtime or compiler that the kit is made with is not installed.
    """
    place, path = find_place(to), Path(file)
    subject = open_subject(path)
    folder = Path(out) if out is not None else Path("kits") / f"{path.stem}-{place.name}"
    if folder.exists() and not force:
        raise OutputError(f"{folder}: is there already. Give --force, or another --out.")
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise OutputError(f"{folder}: holds {path.name} itself. Give the kit a folder of its own.")
    if not is_kit(folder):
        raise OutputError(
            f"{folder}: holds no kit, and --force replaces kits alone. Give another --out."
        )
    check_place(folder, folder=True)
    (status or (lambda line: None))(f"running {path.name} on golden samples")
    build: Callable[..., Files] = load_attribute(place.build)
    files = build(subject, **place.arguments)
    with open_workspace() as workspace:
        staged = workspace / "kit"
        staged.mkdir()
        for name, content in files.items():
            (staged / name).write_bytes(content)
        move_whole(staged, folder)
    return Kit(folder, place, tuple(sorted(files)), size_path(folder))


def is_kit(folder: Path) -> bool:
    """Whether nothing but a kit is lost where a folder is replaced."""
    if not folder.is_dir():
        return True  # :func:`check_place` has a line for a file in its place
    inside = {entry.name for entry in folder.iterdir()}
    return not inside or not inside.isdisjoint(MARKS)


def open_subject(path: Path) -> Subject:
    """The file of a kit, with its documents.

    Raises:
        ConfigError: a SavedModel.
        ModelFileError: no such file, damaged, or of another tool.
    """
    if detect_format(path) is Format.SAVEDMODEL:
        raise ConfigError(
            f"{path}: a SavedModel needs TensorFlow, so no kit is made of it. Export the model to "
            "tflite-float32 or onnx-float32 and deploy that."
        )
    refuse_damage(path)
    metadata = read_metadata(path)
    if metadata.manifest is None:
        raise ModelFileError(
            f"{path}: says nothing of its pixels and classes, and has no golden inputs. Deploy a "
            "file that 'edgevit export' wrote."
        )
    return Subject(path, metadata, metadata.manifest)
