"""The key of a cell: a digest of all that its result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError, EdgevitError, MissingDependencyError, ModelFileError
from edgevit.base.packages import Need
from edgevit.base.versions import installed_version, tool_versions
from edgevit.core.target import Target
from edgevit.formats.registry import find_runtime, needs_of
from edgevit.frontend.sources.python_object import PLACE
from edgevit.frontend.sources.table import find_kind
from edgevit.models import is_known, shipped, split_name
from edgevit.sweeps.digests import Digests, find_code
from edgevit.sweeps.plan import Plan, PlannedCell

DOCUMENT = 1  # of a cell; a newer one is measured anew
KERAS = ("keras", "tensorflow", "numpy")


@dataclass(frozen=True)
class Keyed:
    """A planned cell with its key.

    Attributes:
        cell: of the plan.
        key: digest of weights, options, data and tools.
        files: that it reads, with the sha256 of each.
    """

    cell: PlannedCell
    key: str
    files: tuple[tuple[Path, str], ...] = ()


def find_keys(plan: Plan, digests: Digests) -> list[Keyed]:
    """The key of every cell. Imports no framework.

    Raises:
        ConfigError: a model that is not there.
    """
    package = digests.of_package()
    models: dict[str, tuple[list[Path], dict[str, str]]] = {}
    found = []
    for cell in plan.cells:
        if cell.model not in models:
            models[cell.model] = _read_model(cell, plan, digests)
        files, identity = models[cell.model]
        data = {name: Path(value) for name, value in _data_of(cell)}
        parts: dict[str, Any] = {
            "document": DOCUMENT,
            "package": package,
            "model": identity,
            "target": cell.target.name,
            "options": cell.settings.options,
            "limit": cell.settings.limit,
            "latency": cell.settings.latency,
            "keep_files": cell.settings.keep_files,
            "threads": plan.limits.threads,
            "data": {
                name: digests.of_path(path) if path.exists() else str(path)
                for name, path in data.items()
            },
            "tools": _tools_of(cell.target),
        }
        key = hashlib.sha256(to_json(parts).encode()).hexdigest()
        there = [*files, *(path for path in data.values() if path.exists())]
        found.append(Keyed(cell, key, tuple((path, digests.of_path(path)) for path in there)))
    return found


def _data_of(cell: PlannedCell) -> Iterator[tuple[str, str]]:
    settings = cell.settings
    for name in ("calibration", "ranges", "evaluation"):
        value = getattr(settings, name)
        if value is not None:
            yield name, value
    for name in ("weights", "recipe", "sign"):
        value = settings.options.get(name)
        if isinstance(value, str):
            yield name, value


def _read_model(
    cell: PlannedCell, plan: Plan, digests: Digests
) -> tuple[list[Path], dict[str, str]]:
    """(the files of a model, what tells it from others)."""
    try:
        files = list_model_files(cell.source, plan.folder)
    except EdgevitError as error:
        raise ConfigError(f"{plan.title}, model {cell.model}: {error}") from None
    files += [Path(path) for path in cell.depends]
    identity = {f"{path.name}#{n}": digests.of_path(path) for n, path in enumerate(files)}
    return files, {"source": Path(cell.source).name, **identity}


def list_model_files(source: str, folder: Path) -> list[Path]:
    """The files and folders that a model is read from.

    Args:
        source: what ``edgevit export`` takes.
        folder: where modules are looked for.

    Raises:
        ModelFileError, UnknownNameError: there is no such model.
    """
    match = None if is_known(source) else PLACE.fullmatch(source)
    if match is not None and (code := find_code(match["module"], folder)):
        return code
    find_kind(source)
    if match is not None:
        module = match["module"].split(".")[0]
        raise ModelFileError(f"{source}: there is no module {module!r} in {folder}, nor installed.")
    if Path(source).exists():
        return [Path(source)]
    model, size = split_name(source) if is_known(source) else (source, None)
    name = model if size is None else f"{model}:{size}"
    try:
        return [shipped.folder_of(name)] if name in shipped.list_shipped() else []
    except MissingDependencyError as error:
        raise ModelFileError(str(error)) from None


@cache
def _tools_of(target: Target) -> dict[str, str | None]:
    """Versions of what takes part in one target; None: not installed, which is an answer too."""
    further = [find_runtime(name).need for name in target.runtimes_if_installed]
    needs = dict.fromkeys((*needs_of(target), *further))
    return {**tool_versions(*KERAS), **{need.distribution: _version(need) for need in needs}}


@cache
def _version(need: Need) -> str | None:
    return installed_version(need.distribution)
