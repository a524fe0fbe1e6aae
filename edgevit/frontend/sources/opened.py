"""The loaders of :data:`edgevit.frontend.sources.table.KINDS`: a request to a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit.frontend.sources.application import read_application
from edgevit.frontend.sources.archive import read_archive
from edgevit.frontend.sources.filling import fill_network
from edgevit.frontend.sources.foreign import is_archive, is_hdf5
from edgevit.frontend.sources.hdf5 import read_hdf5_model
from edgevit.frontend.sources.network import describe_network
from edgevit.frontend.sources.python_object import read_object
from edgevit.models import split_name
from edgevit.models.build import build_plan, plan_model
from edgevit.models.weights import TrainedModel, digest_weights, load_model

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Request:
    """A model that a user named, with how to read it.

    Attributes:
        name: the model's.
        weights: a file or folder to use instead of the weights that come with it.
        trust: whether a file may run Python code that it contains.
        outputs: of an architecture of ours: see :func:`edgevit.models.build.build`.
    """

    name: str
    weights: Path | None = None
    trust: bool = False
    outputs: tuple[str, ...] | None = None


def open_ours(request: Request) -> TrainedModel:
    """An architecture of ours, with shipped weights or those of a run; or with a Keras file's."""
    weights = request.weights
    if weights is None or not (is_hdf5(weights) or is_archive(weights)):
        return load_model(request.name, weights, request.outputs)
    plan = plan_model(*split_name(request.name), outputs=request.outputs)
    network = build_plan(plan)
    fill_network(network, weights)
    return TrainedModel(plan, network, (), digest_weights(network.get_weights()), None)


def open_archive(request: Request) -> TrainedModel:
    """A .keras file or folder."""
    return _describe_file(request, read_archive(Path(request.name), request.trust))


def open_hdf5_model(request: Request) -> TrainedModel:
    """An .h5 file."""
    return _describe_file(request, read_hdf5_model(Path(request.name), request.trust))


def _describe_file(request: Request, model: keras.Model) -> TrainedModel:
    return _describe(request, model, Path(request.name).stem)


def open_saved_model(request: Request) -> TrainedModel:
    """A SavedModel folder."""
    from edgevit.frontend.sources.saved_model import read_saved_model

    return read_saved_model(Path(request.name))


def open_application(request: Request) -> TrainedModel:
    """A model of keras.applications."""
    model, contract = read_application(request.name, request.weights)
    title = request.name.rpartition(".")[2]
    return describe_network(model, title, request.name, contract)


def open_object(request: Request) -> TrainedModel:
    """A model that Python code builds."""
    model, title = read_object(request.name)
    return _describe(request, model, title)


def _describe(request: Request, model: keras.Model, title: str) -> TrainedModel:
    if request.weights is not None:
        fill_network(model, request.weights)
    return describe_network(model, title, request.name)
