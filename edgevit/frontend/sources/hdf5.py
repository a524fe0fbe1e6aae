"""Whole models in HDF5, as Keras 2 and Keras 3 save them under .h5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.base.bounds import WEIGHTS_BYTES, check_regular
from edgevit.base.documents import parse_object
from edgevit.base.errors import ModelFileError, in_one_line
from edgevit.frontend.sources.building import build_from_config, wrong_weights
from edgevit.frontend.sources.configs import check_code, check_form, keep_losses
from edgevit.frontend.sources.keras2_graph import safe_layer_name
from edgevit.frontend.sources.publishers import import_publishers, name_in_full
from edgevit.models.bounded import bounded_weights

if TYPE_CHECKING:
    import keras


def read_hdf5_model(path: Path, trust: bool) -> keras.Model:
    """Builds the model that a file describes, and fills it.

    Args:
        path: an HDF5 file, whatever its name.
        trust: whether it may run Python code that it contains.

    Raises:
        ModelFileError: truncated, weights without a network, code that nobody trusted, or parts
            that Keras does not know.
        MissingDependencyError: classes of a publisher's package that is not installed.
    """
    with open_hdf5(path) as file:
        if "model_config" not in file.attrs:
            raise ModelFileError(
                f"{path}: holds weights without the network that they belong to. Name the network "
                f"and give the file beside it, such as 'edgevit export my_package.nets:build "
                f"--weights {path.name}' or 'keras.applications.ResNet50 --weights {path.name}'."
            )
        config = parse_object(file.attrs["model_config"], str(path), "the config inside")
        check_form(str(path), config)
        check_code(str(path), config, trust)
        import_publishers(str(path), config)
        config = name_in_full(config)
        with bounded_weights(str(path), path.stat().st_size):
            model = build_from_config(str(path), config, _version(file), trust)
        group = file.get("model_weights", file)
        fill_by_layer(str(path), group, model)
        if "training_config" in file.attrs:
            training = parse_object(file.attrs["training_config"], str(path), "the config inside")
            keep_losses(model, training)
    return model


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file for reading.

    Raises:
        ModelFileError: truncated or damaged, also where that shows later.
    """
    import h5py

    check_regular(path, WEIGHTS_BYTES, ModelFileError)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise ModelFileError(
            f"{path}: truncated or damaged HDF5 ({in_one_line(error, 160)}). Copy or save it again."
        ) from None


def _version(file: Any) -> str | None:
    version = file.attrs.get("keras_version")
    return version.decode() if isinstance(version, bytes) else version


def fill_by_layer(origin: str, group: Any, model: keras.Model) -> None:
    """Sets a model's weights from the groups of its layers.

    Layers go by name where the names are the same, or else by their order.

    Args:
        origin: where the weights come from.
        group: ``model_weights`` of a whole model, or a file of ``save_weights`` of Keras 2.
        model: built.

    Raises:
        ModelFileError: other layers, or weights of another shape.
    """
    from keras.src.legacy.saving import legacy_h5_format as legacy

    stored = {}
    for name in legacy.load_attributes_from_hdf5_group(group, "layer_names"):
        arrays = legacy.load_subset_weights_from_hdf5_group(group[name])
        if arrays:
            stored[safe_layer_name(name)] = arrays
    layers = [layer for layer in model.layers if layer.weights]
    if len(layers) != len(stored):
        raise wrong_weights(
            origin, f"weights of {len(stored)} layers, where the network has {len(layers)} with any"
        )
    by_name = {layer.name: layer for layer in layers}
    if set(by_name) != set(stored):
        by_name = dict(zip(stored, layers, strict=True))
    for name, arrays in stored.items():
        _fill(origin, by_name[name], arrays)
    if "top_level_model_weights" in group:
        own = [*model._trainable_variables, *model._non_trainable_variables]
        arrays = legacy.load_subset_weights_from_hdf5_group(group["top_level_model_weights"])
        _assign(origin, model.name, own, arrays)


def _fill(origin: str, layer: Any, arrays: list[Any]) -> None:
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    _assign(origin, layer.name, variables, arrays)
    if hasattr(layer, "finalize_state"):  # what adapt() measured
        layer.finalize_state()


def _assign(origin: str, name: str, variables: list[Any], arrays: list[Any]) -> None:
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise wrong_weights(
            origin,
            f"layer {name!r} has weights of the shapes {[array.shape for array in arrays]}, where "
            f"the network has {[tuple(variable.shape) for variable in variables]}",
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
