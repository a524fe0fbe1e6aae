"""edgevit: a trained Keras vision model goes in; files that an edge runtime has run come out.

Importing this package imports no framework; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> "module:attribute"
_HOMES = {
    "AccuracyReport": "edgevit.core.parity:AccuracyReport",
    "Artifact": "edgevit.core.manifest:Artifact",
    "BenchmarkResult": "edgevit.core.benchmarks:BenchmarkResult",
    "Budget": "edgevit.verbs.outcome:Budget",
    "ConfigError": "edgevit.base.errors:ConfigError",
    "DataError": "edgevit.base.errors:DataError",
    "EdgevitError": "edgevit.base.errors:EdgevitError",
    "ExportError": "edgevit.base.errors:ExportError",
    "ImageDataset": "edgevit.data.datasets:ImageDataset",
    "InputError": "edgevit.base.errors:InputError",
    "Inspection": "edgevit.core.inspection:Inspection",
    "Kit": "edgevit.verbs.deploy:Kit",
    "LayerDiff": "edgevit.core.layer_errors:LayerDiff",
    "Manifest": "edgevit.core.manifest:Manifest",
    "MissingDependencyError": "edgevit.base.errors:MissingDependencyError",
    "MissingToolError": "edgevit.base.errors:MissingToolError",
    "ModelFileError": "edgevit.base.errors:ModelFileError",
    "Outcome": "edgevit.verbs.outcome:Outcome",
    "OutputError": "edgevit.base.errors:OutputError",
    "ParityReport": "edgevit.core.parity:ParityReport",
    "Prediction": "edgevit.verbs.predict:Prediction",
    "Preprocess": "edgevit.core.tensors:Preprocess",
    "Profile": "edgevit.core.parity:Profile",
    "Recipe": "edgevit.training.recipe:Recipe",
    "RuntimeFailure": "edgevit.base.errors:RuntimeFailure",
    "Session": "edgevit.formats.session:Session",
    "Signature": "edgevit.core.signature:Signature",
    "Target": "edgevit.core.target:Target",
    "UnknownNameError": "edgevit.base.errors:UnknownNameError",
    "Verdict": "edgevit.core.parity:Verdict",
    "Verification": "edgevit.verbs.verify:Verification",
    "benchmark": "edgevit.verbs.benchmark:benchmark",
    "build": "edgevit.models.build:build",
    "calibrate": "edgevit.verbs.calibrate:calibrate",
    "deploy": "edgevit.verbs.deploy:deploy",
    "diff": "edgevit.verbs.diff:diff",
    "evaluate": "edgevit.verbs.evaluate:evaluate",
    "explain": "edgevit.verbs.explain:explain",
    "export": "edgevit.verbs.export:export",
    "export_all": "edgevit.verbs.export:export_all",
    "inspect": "edgevit.verification.audit:inspect",
    "list_models": "edgevit.models:list_models",
    "list_shipped": "edgevit.models.shipped:list_shipped",
    "list_targets": "edgevit.formats.registry:list_targets",
    "load": "edgevit.frontend.sources.load:load",
    "load_dataset": "edgevit.data.datasets:load_dataset",
    "open_recipe": "edgevit.training.recipe:open_recipe",
    "open_session": "edgevit.formats.registry:open_session",
    "predict": "edgevit.verbs.predict:predict",
    "profile": "edgevit.bench.profile:profile",
    "report": "edgevit.verbs.report:write_report",
    "sweep": "edgevit.verbs.sweep:sweep",
    "train": "edgevit.training.run:train_model",
    "verify": "edgevit.verbs.verify:verify",
}

__all__ = [
    "AccuracyReport",
    "Artifact",
    "BenchmarkResult",
    "Budget",
    "ConfigError",
    "DataError",
    "EdgevitError",
    "ExportError",
    "ImageDataset",
    "InputError",
    "Inspection",
    "Kit",
    "LayerDiff",
    "Manifest",
    "MissingDependencyError",
    "MissingToolError",
    "ModelFileError",
    "Outcome",
    "OutputError",
    "ParityReport",
    "Prediction",
    "Preprocess",
    "Profile",
    "Recipe",
    "RuntimeFailure",
    "Session",
    "Signature",
    "Target",
    "UnknownNameError",
    "Verdict",
    "Verification",
    "__version__",
    "benchmark",
    "build",
    "calibrate",
    "deploy",
    "diff",
    "evaluate",
    "explain",
    "export",
    "export_all",
    "inspect",
    "list_models",
    "list_shipped",
    "list_targets",
    "load",
    "load_dataset",
    "open_recipe",
    "open_session",
    "predict",
    "profile",
    "report",
    "sweep",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from edgevit.base.errors import (
        ConfigError,
        DataError,
        EdgevitError,
        ExportError,
        InputError,
        MissingDependencyError,
        MissingToolError,
        ModelFileError,
        OutputError,
        RuntimeFailure,
        UnknownNameError,
    )
    from edgevit.bench.profile import profile
    from edgevit.core.benchmarks import BenchmarkResult
    from edgevit.core.inspection import Inspection
    from edgevit.core.layer_errors import LayerDiff
    from edgevit.core.manifest import Artifact, Manifest
    from edgevit.core.parity import AccuracyReport, ParityReport, Profile, Verdict
    from edgevit.core.signature import Signature
    from edgevit.core.target import Target
    from edgevit.core.tensors import Preprocess
    from edgevit.data.datasets import ImageDataset, load_dataset
    from edgevit.formats.registry import list_targets, open_session
    from edgevit.formats.session import Session
    from edgevit.frontend.sources.load import load
    from edgevit.models import list_models
    from edgevit.models.build import build
    from edgevit.models.shipped import list_shipped
    from edgevit.training.recipe import Recipe, open_recipe
    from edgevit.training.run import train_model as train
    from edgevit.verbs.benchmark import benchmark
    from edgevit.verbs.calibrate import calibrate
    from edgevit.verbs.deploy import Kit, deploy
    from edgevit.verbs.diff import diff
    from edgevit.verbs.evaluate import evaluate
    from edgevit.verbs.explain import explain
    from edgevit.verbs.export import export, export_all
    from edgevit.verbs.outcome import Budget, Outcome
    from edgevit.verbs.predict import Prediction, predict
    from edgevit.verbs.report import write_report as report
    from edgevit.verbs.sweep import sweep
    from edgevit.verbs.verify import Verification, verify
    from edgevit.verification.audit import inspect


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevit' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
