"""The config inside a Keras file, read before anything of it is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from edgevit.base.errors import ModelFileError

if TYPE_CHECKING:
    import keras

Config = dict[str, Any]
COMPILED = "compile_config"
DAMAGED = "The file is damaged."
MOST = 2**31 - 1
# Fields of layers that are sizes, or lists of sizes.
SIZES = (
    *("batch_shape", "cropping", "depth_multiplier", "dilation_rate", "filters", "groups"),
    *("height", "input_dim", "kernel_size", "num_heads", "output_dim", "output_padding", "padding"),
    *("pool_size", "size", "strides", "target_shape", "units", "width"),
)
OWN = "edgevit"  # package of the classes that files of ours name
UNTOLD = (None, "custom")  # module of a class in an .h5 file, before and after an upgrade
# What a layer's config holds whatever its class.
OF_EVERY_LAYER = ("name", "trainable", "dtype", "batch_input_shape", "build_config")


def without_training(config: Any) -> Any:
    """A config without what models were compiled with, which may name anybody's losses."""
    if isinstance(config, list):
        return [without_training(value) for value in config]
    if isinstance(config, dict):
        return {key: without_training(value) for key, value in config.items() if key != COMPILED}
    return config


def keep_losses(model: keras.Model, compiled: Any) -> None:
    """Notes the names of the losses that a model was trained with, which say what its outputs are.

    Args:
        model: that was not compiled.
        compiled: ``{"loss": ...}`` as a file has it; anything else says nothing.
    """
    names = _name_losses(compiled.get("loss") if isinstance(compiled, dict) else None)
    if names:
        model.loss = names


def _name_losses(loss: Any) -> Any:
    """Names in the place of configs: of one loss, or by output, or in their order."""
    if isinstance(loss, list):
        return [_name_losses(part) for part in loss]
    if not isinstance(loss, dict):
        return loss if isinstance(loss, str) else None
    if "class_name" not in loss:
        return {key: _name_losses(part) for key, part in loss.items()}
    return str(loss.get("config") if loss["class_name"] == "function" else loss["class_name"])


def walk_objects(config: Any) -> Iterator[Config]:
    """Every ``{"class_name": ..., "config": ...}`` of a config, from the outermost on."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from walk_objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from walk_objects(value)


def check_code(origin: str, config: Config, trust: bool) -> None:
    """Refuses a config that holds Python code, unless it is trusted.

    Raises:
        ModelFileError: it holds a Lambda layer.
    """
    kinds = (node["class_name"] for node in walk_objects(config))
    if not trust and any(kind in ("Lambda", "__lambda__") for kind in kinds):
        raise ModelFileError(
            f"{origin}: contains a Lambda layer, which runs Python code from the file. If you "
            "trust where it came from, give --trust-code."
        )


def is_own(node: Config) -> bool:
    """Whether an object of a config is of a class of this package.

    Files of Keras 3 tell the module. Where none is told, as in .h5 files, a class of ours is one
    that takes all that the config holds.
    """
    module = node.get("module")
    if module not in UNTOLD:
        return str(module).split(".")[0] == OWN
    found = own_classes().get(node["class_name"]) if isinstance(node.get("config"), dict) else None
    if found is None:
        return False
    parameters = inspect.signature(found).parameters
    return all(key in parameters or key in OF_EVERY_LAYER for key in node["config"])


@cache
def own_classes() -> dict[str, type]:
    """Every layer class of this package by its name."""
    from edgevit.models.build import custom_objects

    return custom_objects()


def claim_own(config: Any) -> Any:
    """A config whose objects of this package have names that nobody else's class can have.

    Args:
        config: of a model.

    Returns:
        The same, with "edgevit>LayerScale" as the registered name of a LayerScale of ours. One of
        keras.applications, or of the user, keeps its own.
    """
    if isinstance(config, list):
        return [claim_own(value) for value in config]
    if not isinstance(config, dict):
        return config
    found = {key: claim_own(value) for key, value in config.items()}
    if isinstance(config.get("class_name"), str) and is_own(config):
        found["registered_name"] = own_name(config["class_name"])
    return found


def own_name(kind: str) -> str:
    """The registered name of a class of this package."""
    return f"{OWN}>{kind}"


def check_form(origin: str, config: Config) -> None:
    """Refuses names that are no text, and sizes that are no 32-bit integers.

    TensorFlow ends the process at some of the latter.

    Raises:
        ModelFileError: the layer, and what is wrong with it.
    """
    for node in walk_objects(config):
        kind, own = node["class_name"], node.get("config")
        for field in ("module", "registered_name"):
            if not isinstance(node.get(field), str | None):
                raise ModelFileError(f"{origin}: the {field} of a {kind} is no text. {DAMAGED}")
        fields = own if isinstance(own, dict) else {}
        for field in SIZES:
            odd = [size for size in _numbers(fields.get(field)) if not -MOST <= size <= MOST]
            if odd:
                raise ModelFileError(
                    f"{origin}: {field} of a {kind} is {odd[0]:,}, which no kernel takes. {DAMAGED}"
                )


def _numbers(value: Any) -> list[int]:
    """An integer, or those of a list."""
    found = value if isinstance(value, list) else [value]
    return [number for number in found if isinstance(number, int)]


def find_unknown(config: Config) -> list[str]:
    """Names of the classes and functions in a config that Keras cannot find.

    Args:
        config: of a model.
    """
    found = (_name_unknown(node) for node in walk_objects(config) if not is_own(node))
    return list(dict.fromkeys(name for name in found if name))


def _name_unknown(node: Config) -> str | None:
    import keras

    kind, module = node["class_name"], node.get("module")
    if kind.startswith("__") or "config" not in node:
        return None
    name = node["config"] if kind == "function" else kind
    registered = node.get("registered_name") or name
    registered = name if registered == "function" else registered
    if not isinstance(name, str) or keras.saving.get_registered_object(registered):
        return None
    if module and (module == "builtins" or module.split(".")[0] in ("keras", "tf_keras")):
        return None
    if module is None and is_of_keras(kind):
        return None
    return name.split(">")[-1]


def is_of_keras(name: str) -> bool:
    """Whether Keras itself has a part of a network of this name."""
    import keras

    parts = (keras.layers, keras.activations, keras.initializers, keras.regularizers)
    return any(hasattr(part, name) for part in (keras, *parts, keras.constraints))


def describe_unknown(origin: str, names: list[str]) -> ModelFileError:
    """The refusal of a file whose classes nobody registered."""
    noun = "custom object" if len(names) == 1 else "custom objects"
    return ModelFileError(
        f"{origin}: holds the {noun} {', '.join(names)}, which Keras does not know here. Name the "
        "Python module that defines it: --import MODULE."
    )
