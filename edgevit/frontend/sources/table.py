"""The kinds of models that a user may name: how each is told, and what opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.errors import ConfigError, ModelFileError, find_near
from edgevit.frontend.sources import application, foreign, opened, python_object
from edgevit.models import MODELS, has_model, split_name
from edgevit.models.weights import WEIGHTS_FILE, TrainedModel


@dataclass(frozen=True)
class SourceKind:
    """One row of :data:`KINDS`.

    Attributes:
        noun: what errors call it.
        detect: whether a name means such a model; reads a few bytes at most.
        load: opens it.
        takes_weights: whether it is a network that other weights can be put into.
    """

    noun: str
    detect: Callable[[str], bool]
    load: Callable[[opened.Request], TrainedModel]
    takes_weights: bool = True


def _is_savedmodel(name: str) -> bool:
    return any((Path(name) / f"saved_model.{form}").exists() for form in ("pb", "pbtxt"))


def _is_weights(name: str) -> bool:
    path = Path(name)
    return path.suffix == ".safetensors" or (path / WEIGHTS_FILE).exists()


def _is_archive(name: str) -> bool:
    path = Path(name)
    folder = all((path / part).exists() for part in ("config.json", "model.weights.h5"))
    return folder or (path.is_file() and foreign.is_archive(path))


def _is_hdf5(name: str) -> bool:
    return Path(name).is_file() and foreign.is_hdf5(Path(name))


def _is_application(name: str) -> bool:
    return application.NAME.fullmatch(name) is not None


def _is_architecture(name: str) -> bool:
    family = name.partition(":")[0]
    known = has_model(family) or has_model(family.partition("-")[0])
    return has_model(name) or (known and not Path(name).exists())


def _is_object(name: str) -> bool:
    match = python_object.PLACE.fullmatch(name)
    if match is None:
        return False
    there = python_object.has_module(match["module"])
    return there or not find_near(match["module"], MODELS)  # "shiftvot:nano"


# The first that fits is taken.
KINDS: tuple[SourceKind, ...] = (
    SourceKind("an architecture of edgevit", _is_architecture, opened.open_ours),
    SourceKind("a weights file of edgevit", _is_weights, opened.open_ours, takes_weights=False),
    SourceKind("a SavedModel", _is_savedmodel, opened.open_saved_model, takes_weights=False),
    SourceKind("a .keras file", _is_archive, opened.open_archive),
    SourceKind("an .h5 file", _is_hdf5, opened.open_hdf5_model),
    SourceKind("a model of keras.applications", _is_application, opened.open_application),
    SourceKind("Python code", _is_object, opened.open_object),
)


def find_kind(name: str) -> SourceKind:
    """The row that opens a model of this name. Imports no framework.

    Raises:
        UnknownNameError: it looks like the name of an architecture, and there is none.
        ModelFileError: there is no such file, or it is something else.
    """
    path = Path(name)
    for kind in KINDS:
        if kind.detect(name):
            return kind
    if path.exists():
        raise foreign.refuse(path)
    if path.suffix or path.name != name:
        raise ModelFileError(f"{path}: no such file.")
    split_name(name)
    raise AssertionError(name)  # a name that splits is an architecture's


def load_source(
    name: str,
    weights: Path | None = None,
    trust: bool = False,
    outputs: tuple[str, ...] | None = None,
) -> TrainedModel:
    """Opens whatever a user named as a model.

    Args:
        name: a file, a folder, an architecture, "keras.applications.NAME" or "module:function".
        weights: a file or folder to use instead of the weights that come with it.
        trust: whether a file may run Python code that it contains (Lambda layers).
        outputs: of an architecture of ours: see :func:`edgevit.models.build.build`.

    Raises:
        UnknownNameError: no such architecture or application, and no such file.
        ModelFileError: the file, the code or the weights cannot be used.
        ConfigError: weights beside a model that brings its own for good.
    """
    kind = find_kind(name)
    if weights is not None and not kind.takes_weights:
        raise ConfigError(f"{name}: {kind.noun} brings its own. Drop --weights.")
    return kind.load(opened.Request(name, weights, trust, outputs))
