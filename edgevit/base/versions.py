"""Versions of installed tools, without importing them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def tool_versions(*distributions: str) -> dict[str, str]:
    """Versions of those that are installed, with Python's own, by name."""
    found = {"python": platform.python_version()}
    for name in ("edgevit", *distributions):
        number = installed_version(name)
        if number is not None:
            found[name] = number
    return found
