"""Names: told apart by a number behind them, and listed with commas between."""

from __future__ import annotations


def split_names(text: str) -> list[str]:
    """The names of a list with commas between; empty ones do not count."""
    return [name.strip() for name in text.split(",") if name.strip()]


def take_name(wanted: str, taken: set[str], first: int = 2) -> str:
    """The name, with a number behind it where it is taken. It is taken from then on.

    Args:
        wanted: the name.
        taken: names that are; the new one is added.
        first: the number behind the second of a name.
    """
    name, number = wanted, first
    while name in taken:
        name = f"{wanted}_{number}"
        number += 1
    taken.add(name)
    return name
