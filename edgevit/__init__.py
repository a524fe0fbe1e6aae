"""edgevit: a trained Keras vision model goes in; files that an edge runtime has run come out.

Importing this package imports no framework; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "benchmark": "edgevit.pipeline",
    "build": "edgevit.models.build",
    "calibrate": "edgevit.pipeline",
    "diff": "edgevit.pipeline",
    "evaluate": "edgevit.pipeline",
    "explain": "edgevit.pipeline",
    "export": "edgevit.pipeline",
    "export_all": "edgevit.pipeline",
    "inspect": "edgevit.verify.audit",
    "load": "edgevit.models.weights",
    "open_session": "edgevit.runtimes",
    "profile": "edgevit.bench.profile",
    "train": "edgevit.training.run",
    "verify": "edgevit.pipeline",
}

__all__ = [
    "__version__",
    "benchmark",
    "build",
    "calibrate",
    "diff",
    "evaluate",
    "explain",
    "export",
    "export_all",
    "inspect",
    "load",
    "open_session",
    "profile",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from edgevit.bench.profile import profile
    from edgevit.models.build import build
    from edgevit.models.weights import load
    from edgevit.pipeline import (
        benchmark,
        calibrate,
        diff,
        evaluate,
        explain,
        export,
        export_all,
        verify,
    )
    from edgevit.runtimes import open_session
    from edgevit.training.run import train_model as train
    from edgevit.verify.audit import inspect


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevit' has no attribute {name!r}")
    attribute = "train_model" if name == "train" else name
    value = getattr(importlib.import_module(_HOMES[name]), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``edgevit.export`` and ``edgevit.verify`` the verbs (docs/decisions/0005).

    Importing a module of the room ``edgevit/export`` makes the import system bind the name
    ``export`` on this package to that room, and the verb would be gone.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
