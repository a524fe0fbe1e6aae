"""The formats, targets and runtimes there are, by name; what opens and reads an exported file.

A runtime is imported when a file is opened, a writer when a file is written. Other packages add
targets and runtimes by entry point.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from edgevit.base.bounds import MODEL_BYTES, check_regular
from edgevit.base.errors import (
    ConfigError,
    ModelFileError,
    UnknownNameError,
    find_near,
    needed,
)
from edgevit.base.loading import load_attribute
from edgevit.base.naming import split_names
from edgevit.base.packages import Need, find_missing, is_importable, require
from edgevit.base.plugins import find_row, list_rows
from edgevit.core.format import Format, FormatSpec
from edgevit.core.metadata import EmbeddedMetadata
from edgevit.core.roofline import Cost
from edgevit.core.runtime import Runtime
from edgevit.core.seal import find_damage, is_sealed
from edgevit.core.target import Target
from edgevit.formats.apart import ApartSession
from edgevit.formats.intermediate import IntermediateReader
from edgevit.formats.onnx import format as onnx
from edgevit.formats.onnx import targets as onnx_targets
from edgevit.formats.savedmodel import format as savedmodel
from edgevit.formats.savedmodel import targets as savedmodel_targets
from edgevit.formats.session import Session
from edgevit.formats.tflite import format as tflite
from edgevit.formats.tflite import targets as tflite_targets
from edgevit.formats.trial import try_out

FORMATS: dict[Format, FormatSpec] = {
    spec.format: spec for spec in (savedmodel.SPEC, tflite.SPEC, onnx.SPEC)
}
TARGETS: dict[str, Target] = {
    row.name: row
    for rows in (savedmodel_targets.TARGETS, tflite_targets.TARGETS, onnx_targets.TARGETS)
    for row in rows
}
# The first of each format and device is the one that is used unless another is asked for.
RUNTIMES: dict[str, Runtime] = {
    row.name: row for rows in (savedmodel.RUNTIMES, tflite.RUNTIMES, onnx.RUNTIMES) for row in rows
}
TARGET_PLUGINS = "edgevit.targets"
RUNTIME_PLUGINS = "edgevit.runtimes"
ALL = "all"


def find_target(name: str) -> Target:
    """The target of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
        ConfigError: it is a plug-in's, which cannot be loaded.
    """
    hint = "'edgevit targets' says what each is."
    if find_near(name, [*TARGETS, ALL]):  # else the error lists them itself
        hint = f"Targets: {', '.join([*TARGETS, ALL])}. {hint}"
    return find_row("format", name, TARGETS, TARGET_PLUGINS, Target, hint, more=(ALL,))


def find_targets(names: str) -> list[Target]:
    """Targets of a comma-separated list; "all" in it is every built-in one.

    Raises:
        UnknownNameError: one of the names is unknown.
        ConfigError: one is a plug-in's, which cannot be loaded.
    """
    wanted = split_names(names) or [""]
    rows = [list(TARGETS.values()) if name == ALL else [find_target(name)] for name in wanted]
    return list(dict.fromkeys(target for row in rows for target in row))


def list_targets() -> dict[str, Target]:
    """Every target by name, those of plug-ins last.

    Raises:
        ConfigError: a plug-in cannot be loaded.
    """
    return list_rows(TARGETS, TARGET_PLUGINS, Target)


def find_runtime(name: str) -> Runtime:
    """The runtime of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
        ConfigError: it is a plug-in's, which cannot be loaded.
    """
    return find_row("runtime", name, RUNTIMES, RUNTIME_PLUGINS, Runtime)


def runtimes_of(kind: Format, device: str | None = "cpu") -> list[str]:
    """Names of the built-in runtimes that read a format on a device, the usual one first."""
    return [
        name
        for name, row in RUNTIMES.items()
        if row.format is kind and device in (None, row.device)
    ]


def choose_runtime(path: Path, name: str | None = None) -> Runtime:
    """The runtime that shall run a file.

    Args:
        path: an exported file.
        name: of a runtime; None: the usual one.

    Raises:
        UnknownNameError: there is no such runtime.
        ConfigError: it does not read this file.
        ModelFileError: no such file, or of no known kind.
    """
    kind = detect_format(path)
    row = find_runtime(runtimes_of(kind)[0] if name is None else name)
    if row.format is not kind:
        raise ConfigError(
            f"{path}: {name} reads {row.format} files, this is {kind}. What reads it: "
            f"{', '.join(runtimes_of(kind))}."
        )
    return row


def verifying_runtimes(target: Target) -> tuple[list[Runtime], list[Runtime]]:
    """(runtimes that verify a target here, those that would if they were installed)."""
    further = [find_runtime(name) for name in target.runtimes_if_installed]
    there = [row for row in further if is_installed(row)]
    return [*map(find_runtime, target.runtimes), *there], [r for r in further if r not in there]


def is_installed(row: Runtime) -> bool:
    """Whether a runtime's package is here. Imports nothing of it."""
    return is_importable(row.need.package)


def require_writers(targets: Sequence[Target]) -> None:
    """Asks for what writing and verifying targets takes, before anything slow begins.

    Raises:
        MissingDependencyError: something is not installed; all of it is named.
    """
    needs = {target: needs_of(target) for target in targets}
    lacking = [target.name for target in targets if find_missing(needs[target])]
    require(f"An export to {', '.join(lacking)}", [need for row in needs.values() for need in row])


def needs_of(target: Target) -> tuple[Need, ...]:
    """The packages that writing and verifying a target takes."""
    runtimes = (find_runtime(name).need for name in target.runtimes)
    return (*FORMATS[target.format].writer_needs, *runtimes)


def import_runtime(name: str) -> None:
    """Imports a runtime, so that what follows costs no import.

    Raises:
        MissingDependencyError: it is not installed.
    """
    row = find_runtime(name)
    with needed(row.library.partition(".")[0], row.extra, f"The runtime {name}"):
        importlib.import_module(row.library)


def detect_format(path: Path) -> Format:
    """What kind of exported file this is, by its suffix (a folder by what is in it).

    Raises:
        ModelFileError: it does not exist or is of no known kind.
    """
    if not path.exists():
        raise ModelFileError(f"{path}: no such file. Run 'edgevit export' first.")
    folder = path.is_dir()
    if not folder:
        check_regular(path, MODEL_BYTES, ModelFileError)
    for spec in FORMATS.values():
        own = (path / spec.marker).exists() if folder else path.suffix == spec.suffix
        if own and folder == bool(spec.marker):
            return spec.format
    if folder:
        raise ModelFileError(f"{path}: a folder without saved_model.pb is no SavedModel.")
    raise ModelFileError(f"{path}: neither a .tflite or .onnx file nor a SavedModel folder.")


def open_session(
    path: str | Path, kernels: str | None = None, threads: int | None = None
) -> Session:
    """Loads an exported file in its runtime.

    Args:
        path: a .tflite or .onnx file, or a SavedModel folder.
        kernels: name of a runtime, such as "tflm", or of a kernel set of the usual one, such as
            "reference" for LiteRT; None is what devices run.
        threads: for the kernels. None: one, but TensorFlow's own choice, since its threads belong
            to the whole process.

    Returns:
        A context manager whose ``run(images)`` takes uint8 B H W 3 in any batch and returns a
        dict of float32 arrays, "logits" among them.

    Raises:
        ConfigError: neither a runtime nor a kernel set that reads this file.
        ModelFileError: no such file, of no known kind, or changed since it was exported.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    path = Path(path)
    check_sound(path, _find_reader(path, kernels))
    return load_session(path, kernels, threads)


def load_session(path: Path, kernels: str | None = None, threads: int | None = None) -> Session:
    """As :func:`open_session`, for a file that is known to be whole: nothing is hashed.

    Raises:
        ModelFileError: it has no input or no output; else as there.
    """
    row = _find_reader(path, kernels)
    session = open_here(path, row, threads)
    reason = load_attribute(row.find_end)(path) if row.find_end else ""
    return cast(Session, ApartSession(session, row.name, reason)) if reason else session


def open_here(path: Path, row: Runtime, threads: int | None = None) -> Session:
    """As :func:`load_session`, in this process even where kernels may end it."""
    opener: Callable[..., Session] = load_attribute(row.session)
    session = opener(path, kernels=row.kernels, threads=threads)
    for side, noun in ((session.inputs, "input"), (session.outputs, "output")):
        if not side:
            raise ModelFileError(f"{path}: has no {noun}, so there is nothing to run.")
    return session


def _find_reader(path: Path, name: str | None) -> Runtime:
    kind = detect_format(path)
    rows = [RUNTIMES[row] for row in runtimes_of(kind, device=None)]
    if name is None:
        return rows[0]
    for row in rows:
        if name in (row.name, row.kernels):
            return row
    try:
        return choose_runtime(path, name)
    except UnknownNameError:
        known = ", ".join(dict.fromkeys(row.kernels for row in rows))
        raise ConfigError(f"{kind} has the kernel sets {known}. Received: {name!r}") from None


def read_metadata(path: Path) -> EmbeddedMetadata:
    """The documents inside a file, read without its runtime.

    Raises:
        ModelFileError: no such file, of no known kind, or damaged.
        MissingDependencyError: the package that reads this format is not installed.
    """
    read = load_attribute(FORMATS[detect_format(path)].read_metadata)
    return EmbeddedMetadata(path, read(path))


def refuse_damage(path: Path) -> None:
    """Stops before a runtime reads a sealed file that changed: it may take the process down.

    Raises:
        ModelFileError: the file is not as it was sealed.
    """
    damage = find_damage(path)
    if damage:
        raise ModelFileError(f"{path}: {damage}. Export it again.")


def check_sound(path: Path, row: Runtime) -> None:
    """Stops before a runtime reads what may take this process down.

    Args:
        path: a sealed file, or one of another tool, which is tried in a process of its own.
        row: the runtime that shall read it.

    Raises:
        ModelFileError: a sealed file that changed.
        RuntimeFailure: another tool's, which crashes the runtime or wants too much of anything.
    """
    refuse_damage(path)
    if not is_sealed(path):
        try_out(path, row.name)


def open_intermediate(path: Path) -> IntermediateReader:
    """Opens a file so that its intermediate tensors can be read. It need not be sealed.

    LiteRT runs with its own kernels, since XNNPACK keeps its tensors to itself; onnxruntime with
    its optimisations as far as the tensors that are selected leave room for them.

    Raises:
        ConfigError: a SavedModel.
        ModelFileError: no such file, or of no known kind.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    spec = FORMATS[detect_format(path)]
    if spec.open_intermediate is None:
        raise ConfigError(
            f"{path}: a SavedModel keeps Keras' own operations and gives no tensor between them "
            "out. Export the same model to tflite-float32 or onnx-float32 and look into that."
        )
    opened: IntermediateReader = load_attribute(spec.open_intermediate)(path)
    return opened


def count_cost(path: Path, batch: int = 1) -> Cost | None:
    """What one inference of a file must do; None for a SavedModel, which is not counted.

    Args:
        path: the file.
        batch: images, where the file leaves that free.

    Raises:
        ModelFileError: it cannot be read.
        MissingDependencyError: the package that reads this format is not installed.
    """
    counter = FORMATS[detect_format(path)].count_cost
    return load_attribute(counter)(path, batch) if counter else None
