"""Things that a table names and that are imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any


def load_attribute(place: str) -> Any:
    """The attribute of a module.

    Args:
        place: "module:attribute".
    """
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
