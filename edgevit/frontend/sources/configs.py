"""What the config inside a Keras file says before anything of it is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgevit.base.errors import ModelFileError

Config = dict[str, Any]
COMPILED = "compile_config"


def without_training(config: Any) -> Any:
    """A config without what models were compiled with, which may name anybody's losses."""
    if isinstance(config, list):
        return [without_training(value) for value in config]
    if isinstance(config, dict):
        return {key: without_training(value) for key, value in config.items() if key != COMPILED}
    return config


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


def find_unknown(config: Config, known: dict[str, type]) -> list[str]:
    """Names of the classes and functions in a config that Keras cannot find.

    Args:
        config: of a model.
        known: classes by name beside those that are registered.
    """
    found = (_name_unknown(node, known) for node in walk_objects(config))
    return list(dict.fromkeys(name for name in found if name))


def _name_unknown(node: Config, known: dict[str, type]) -> str | None:
    import keras

    kind, module = node["class_name"], node.get("module")
    if kind.startswith("__") or "config" not in node:
        return None
    name = node["config"] if kind == "function" else kind
    registered = node.get("registered_name") or name
    registered = name if registered == "function" else registered
    if not isinstance(name, str) or keras.saving.get_registered_object(registered, known):
        return None
    if module and (module == "builtins" or module.split(".")[0] in ("keras", "tf_keras")):
        return None
    if module is None and _is_builtin(kind):
        return None
    return name.split(">")[-1]


def _is_builtin(name: str) -> bool:
    """Whether some public part of Keras bears the name that a file of Keras 2 writes."""
    import keras

    parts = (keras, keras.layers, keras.initializers, keras.regularizers, keras.constraints)
    others = (keras.activations, keras.losses, keras.metrics, keras.optimizers)
    return any(hasattr(part, name) for part in (*parts, *others))


def describe_unknown(origin: str, names: list[str]) -> ModelFileError:
    """The refusal of a file whose classes nobody registered."""
    noun = "custom object" if len(names) == 1 else "custom objects"
    return ModelFileError(
        f"{origin}: holds the {noun} {', '.join(names)}, which Keras does not know here. Name the "
        "Python module that defines it: --import MODULE."
    )
