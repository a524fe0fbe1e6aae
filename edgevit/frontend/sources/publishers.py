"""Packages that publish networks: files name their classes, and their models say what they take."""

from __future__ import annotations

import importlib
from typing import Any

from edgevit.base.packages import Need, require
from edgevit.core.tensors import Preprocess
from edgevit.frontend.sources.configs import Config, walk_objects

PUBLISHERS = (Need("keras_hub", "hub"),)
SIDE = 224  # pixels, where a network takes any size and its publisher names none


def import_publishers(origin: str, config: Config) -> None:
    """Imports the packages whose classes a config names, which makes these known to Keras.

    Args:
        origin: what errors call the file.
        config: of a model.

    Raises:
        MissingDependencyError: such a package is not installed.
    """
    named = {name for node in walk_objects(config) for name in _packages(node)}
    for need in PUBLISHERS:
        if need.package in named:
            require(f"{origin}: a model of {need.distribution}", [need])
            importlib.import_module(need.package)


def name_in_full(config: Config) -> Config:
    """A config whose outermost class is called as its package registered it.

    .h5 files call that one by its bare name, and all inside it in full. To be called once the
    package is imported.
    """
    import keras

    kind = config.get("class_name")
    for need in PUBLISHERS:
        name = f"{need.package}>{kind}"
        if "module" not in config and keras.saving.get_registered_object(name) is not None:
            return {**config, "class_name": name}
    return config


def _packages(node: Config) -> tuple[str, ...]:
    """Where an object's class may come from: its module, or the prefix of a registered name."""
    module = str(node.get("module") or "").partition(".")[0]
    names = (str(node.get("registered_name") or ""), node["class_name"])  # .h5 files hold the last
    return (module, *(name.partition(">")[0] for name in names if ">" in name))


def read_preprocessor(model: Any) -> Preprocess | None:
    """What makes a model's input of raw pixels, by the preprocessor that keras-hub hangs on it.

    A task of keras-hub holds a preprocessor that its graph does not, and that an export would lose.

    Args:
        model: of somebody else.

    Returns:
        Factors and offsets of its ImageConverter; None where it has none.
    """
    converter = getattr(getattr(model, "preprocessor", None), "image_converter", None)
    inputs = list(getattr(model, "inputs", None) or [])  # a subclassed model has none
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    if converter is None or len(shape) != 4 or shape[-1] is None:
        return None
    sides = converter.image_size or (SIDE, SIDE)
    rows, columns = (own or side for own, side in zip(shape[1:3], sides, strict=True))
    scale = _of_channels(converter.scale, 1.0, shape[-1])
    offset = _of_channels(converter.offset, 0.0, shape[-1])
    return Preprocess((rows, columns), (rows, columns), None, scale, offset)


def _of_channels(value: Any, absent: float, channels: int) -> tuple[float, ...]:
    """A number for each channel, from one for all, one for each, or none."""
    found = absent if value is None else value
    parts = found if isinstance(found, (list, tuple)) else [found] * channels
    return tuple(float(part) for part in parts)
