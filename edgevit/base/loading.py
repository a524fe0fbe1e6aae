"""Things that a table or a user names and that are imported when they are used."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load_attribute(place: str) -> Any:
    """The attribute of a module.

    Args:
        place: "module:attribute".
    """
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def import_from_here(name: str) -> ModuleType:
    """Imports a module of the current folder, or an installed one.

    The folder stays on ``sys.path``, since a module may import its neighbours later.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)
