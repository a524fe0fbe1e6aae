"""edgevit: a trained Keras vision model goes in; files that an edge runtime has run come out.

Importing this package imports no framework; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> "module:attribute"
_HOMES = {
    "EdgevitError": "edgevit.base.errors:EdgevitError",
    "benchmark": "edgevit.verbs.benchmark:benchmark",
    "build": "edgevit.models.build:build",
    "calibrate": "edgevit.verbs.calibrate:calibrate",
    "diff": "edgevit.verbs.diff:diff",
    "evaluate": "edgevit.verbs.evaluate:evaluate",
    "explain": "edgevit.verbs.explain:explain",
    "export": "edgevit.verbs.export:export",
    "export_all": "edgevit.verbs.export:export_all",
    "inspect": "edgevit.verification.audit:inspect",
    "load": "edgevit.frontend.sources.load:load",
    "open_session": "edgevit.formats.registry:open_session",
    "predict": "edgevit.verbs.predict:predict",
    "profile": "edgevit.bench.profile:profile",
    "report": "edgevit.verbs.report:write_report",
    "train": "edgevit.training.run:train_model",
    "verify": "edgevit.verbs.verify:verify",
}

__all__ = [
    "EdgevitError",
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
    "predict",
    "profile",
    "report",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from edgevit.base.errors import EdgevitError
    from edgevit.bench.profile import profile
    from edgevit.formats.registry import open_session
    from edgevit.frontend.sources.load import load
    from edgevit.models.build import build
    from edgevit.training.run import train_model as train
    from edgevit.verbs.benchmark import benchmark
    from edgevit.verbs.calibrate import calibrate
    from edgevit.verbs.diff import diff
    from edgevit.verbs.evaluate import evaluate
    from edgevit.verbs.explain import explain
    from edgevit.verbs.export import export, export_all
    from edgevit.verbs.predict import predict
    from edgevit.verbs.report import write_report as report
    from edgevit.verbs.verify import verify
    from edgevit.verification.audit import inspect


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevit' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
