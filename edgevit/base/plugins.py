"""Rows that other packages add to a table, by entry point. Nothing is looked up at import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from edgevit.base.errors import ConfigError, UnknownNameError, in_one_line

Row = TypeVar("Row")


def find_row(
    noun: str,
    name: str,
    table: Mapping[str, Row],
    group: str,
    kind: type[Row],
    hint: str = "",
    more: Iterable[str] = (),
) -> Row:
    """The row of this name, out of a table or else out of an installed plug-in.

    Args:
        noun: what a row is, such as "target".
        name: of the row that is asked for.
        table: the built-in rows by name.
        group: of the entry points: the name of each is the name of its row.
        kind: class of a row.
        hint: the next step, if there is none.
        more: names that may be meant beside those of rows.

    Raises:
        UnknownNameError: there is none; near misses are named, those of plug-ins too.
        ConfigError: the plug-in cannot be imported, or is no such row.
    """
    if name in table:
        return table[name]
    for point in entry_points(group=group, name=name):
        return _load(point, kind)
    raise UnknownNameError(noun, name, [*list_names(table, group), *more], hint)


def list_names(table: Mapping[str, Row], group: str) -> list[str]:
    """Names of the built-in rows, then of those of plug-ins, of which none is loaded."""
    return list(dict.fromkeys([*table, *(point.name for point in entry_points(group=group))]))


def list_rows(table: Mapping[str, Row], group: str, kind: type[Row]) -> dict[str, Row]:
    """The built-in rows, then those of installed plug-ins, by name.

    Raises:
        ConfigError: a plug-in cannot be imported, or is no such row.
    """
    others = [point for point in entry_points(group=group) if point.name not in table]
    return {**table, **{point.name: _load(point, kind) for point in others}}


def _load(point: EntryPoint, kind: type[Row]) -> Row:
    package = point.dist.name if point.dist else point.module
    try:
        row = point.load()
    except Exception as error:  # whatever another package raises while it is imported
        reason = in_one_line(error, 200)
        raise ConfigError(
            f"the plug-in {package} cannot be loaded for {point.name!r} "
            f"({type(error).__name__}: {reason}). Update or uninstall it."
        ) from None
    if not isinstance(row, kind) or getattr(row, "name", None) != point.name:
        raise ConfigError(
            f"the plug-in {package} offers {point.name!r} in {point.group}, but {point.value} is "
            f"no {kind.__name__} of this name. Update or uninstall it."
        )
    return row
