"""The options that a user chose, by format; one that no target takes is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from edgevit.base.errors import ConfigError
from edgevit.base.loading import load_attribute
from edgevit.core.format import Format
from edgevit.core.options import KEY
from edgevit.core.target import Target
from edgevit.formats.registry import FORMATS, TARGETS
from edgevit.frontend.source import ExportOptions


def list_options() -> dict[str, Field]:
    """Every option of every format by its name, those of all formats first."""
    classes = [ExportOptions, *(load_attribute(spec.options) for spec in FORMATS.values())]
    return {field.name: field for row in classes for field in fields(row)}


def build_options(kind: Format, chosen: Mapping[str, Any]) -> ExportOptions:
    """The options of one format.

    Args:
        kind: the format.
        chosen: values by name; those that are not options of this format are left out.

    Raises:
        ConfigError: values that make no sense, or not together.
    """
    row = load_attribute(FORMATS[kind].options)
    known = {field.name for field in fields(row)}
    options: ExportOptions = row(**{name: chosen[name] for name in chosen if name in known})
    return options


def choose_options(
    targets: Sequence[Target], chosen: Mapping[str, Any]
) -> dict[Format, ExportOptions]:
    """The options of the format of each target.

    Args:
        targets: all that are asked for.
        chosen: values by name, of :func:`list_options`; a default chooses nothing.

    Raises:
        ConfigError: values that make no sense, or that no target takes.
    """
    formats = dict.fromkeys(target.format for target in targets)
    found = {kind: build_options(kind, chosen) for kind in formats}
    for name, field in list_options().items():
        if chosen.get(name, field.default) == field.default:
            continue
        if not any(takes(target, field) for target in targets):
            takers = ", ".join(row.name for row in TARGETS.values() if takes(row, field))
            raise ConfigError(f"{flag_of(field)} is for {takers}: none of these is asked for.")
    return found


def flag_of(field: Field) -> str:
    """How an option is typed, such as "--io-dtype"."""
    return field.metadata[KEY].flag or f"--{field.name.replace('_', '-')}"


def takes(target: Target, field: Field) -> bool:
    """Whether an option changes anything of a target's files."""
    row = load_attribute(FORMATS[target.format].options)
    precisions = field.metadata[KEY].precisions
    return field.name in {known.name for known in fields(row)} and (
        not precisions or target.precision in precisions
    )
