"""Weights from a file into a network that is there already."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.base.bounds import WEIGHTS_BYTES, check_regular
from edgevit.base.errors import ModelFileError, in_one_line
from edgevit.frontend.sources.building import explained, wrong_weights
from edgevit.frontend.sources.foreign import describe_file, is_hdf5
from edgevit.frontend.sources.hdf5 import fill_by_layer, open_hdf5
from edgevit.models.weights import WEIGHTS_FILE

if TYPE_CHECKING:
    import keras


def fill_network(model: keras.Model, path: Path) -> None:
    """Sets a network's weights.

    Args:
        model: built.
        path: .weights.h5 or .keras of Keras 3, .h5 of ``save_weights`` or of a whole model of
            Keras 2, .safetensors in ``get_weights`` order or by the paths of the variables, or a
            folder that holds weights.safetensors.

    Raises:
        ModelFileError: no such file, no weights in it, or weights of another network.
    """
    path = path / WEIGHTS_FILE if path.is_dir() else path
    if not path.exists():
        raise ModelFileError(f"{path}: no such weights.")
    if path.suffix == ".safetensors":
        _fill_from_safetensors(model, path)
    elif is_hdf5(path):
        _fill_from_hdf5(model, path)
    elif zipfile.is_zipfile(path) and path.suffix == ".keras":
        _fill_by_keras(model, path)
    else:
        raise ModelFileError(
            f"{path}: {describe_file(path)} Weights come as .weights.h5, .h5, .keras or "
            ".safetensors."
        )


def _fill_from_hdf5(model: keras.Model, path: Path) -> None:
    with open_hdf5(path) as file:
        group = file.get("model_weights", file)
        legacy = "layer_names" in group.attrs or "layer_names0" in group.attrs
        if legacy:
            fill_by_layer(str(path), group, model)
    if not legacy:
        _fill_by_keras(model, path)


def _fill_by_keras(model: keras.Model, path: Path) -> None:
    """A file in the layout of Keras 3."""
    from keras.src.saving import saving_lib

    if not path.name.endswith(("weights.h5", ".keras")):
        raise ModelFileError(
            f"{path}: holds weights as Keras 3 saves them, and Keras goes by the name. Call it "
            f"{path.stem}.weights.h5."
        )
    with explained(str(path), dict):
        saving_lib.load_weights_only(model, str(path))


def _fill_from_safetensors(model: keras.Model, path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    check_regular(path, WEIGHTS_BYTES, ModelFileError)
    try:
        with safe_open(str(path), framework="numpy") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{path}: truncated or damaged weights ({in_one_line(error, 160)})."
        ) from None
    arrays = _in_order(model, stored)
    if arrays is None:
        raise wrong_weights(
            str(path),
            f"{len(stored)} arrays called {_few(stored)}, where the network has "
            f"{len(model.weights)} called {_few(by_path(model))}",
        )
    for variable, array in zip(model.weights, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise wrong_weights(
                str(path),
                f"{variable.path} is {array.shape}, where the network has {tuple(variable.shape)}",
            )
    model.set_weights(arrays)


def _in_order(model: keras.Model, stored: dict[str, Any]) -> list[np.ndarray] | None:
    """Arrays in ``get_weights`` order; None where the names are neither numbers nor paths."""
    if len(stored) != len(model.weights):
        return None
    paths = by_path(model)
    if set(paths) == set(stored):
        return [stored[name] for name in paths]
    if all(name.isdecimal() for name in stored):
        return [stored[name] for name in sorted(stored, key=int)]
    return None


def by_path(model: keras.Model) -> dict[str, Any]:
    """A network's variables by path, such as "stem/conv/kernel", in ``get_weights`` order."""
    return {variable.path: variable for variable in model.weights}


def _few(names: Any) -> str:
    first = list(names)[:3]
    return ", ".join(first) + (" ..." if len(names) > len(first) else "")
