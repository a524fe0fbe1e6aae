"""What every architecture's config checks, each with one message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgevit.base.errors import ConfigError


def check_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raises ConfigError unless the value is one of those allowed."""
    allowed = tuple(allowed)
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ConfigError(f"{name} must be one of {choices}. Received: {name}={value!r}")


def check_sizes(**sizes: Any) -> None:
    """Raises ConfigError unless every value is a whole number of at least 1, or a tuple of them."""
    for name, value in sizes.items():
        members = value if isinstance(value, tuple) else (value,)
        if not members or not all(_is_whole(size) and size >= 1 for size in members):
            raise ConfigError(
                f"{name} must be made of whole numbers of at least 1. Received: {name}={value!r}"
            )


def check_rates(**rates: Any) -> None:
    """Raises ConfigError unless every value lies in [0, 1)."""
    for name, rate in rates.items():
        if not _is_number(rate) or not 0 <= rate < 1:
            raise ConfigError(f"{name} must be a rate in [0, 1). Received: {name}={rate!r}")


def check_positive(**numbers: Any) -> None:
    """Raises ConfigError unless every value is a number above 0."""
    for name, number in numbers.items():
        if not _is_number(number) or not 0 < number < float("inf"):
            raise ConfigError(f"{name} must be a number above 0. Received: {name}={number!r}")


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
