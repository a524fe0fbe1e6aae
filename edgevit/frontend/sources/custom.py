"""Classes and functions of a user's module, made known to Keras by their plain names."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from edgevit.frontend.sources.configs import is_of_keras


def register_classes(module: ModuleType) -> None:
    """Lets files name what a module defines, whether it is registered there or not.

    What is registered under its name already stays, and so does what Keras itself calls so.

    Args:
        module: imported.
    """
    if "keras" not in sys.modules:  # then nothing in it is for Keras
        return
    import keras

    known = keras.saving.get_custom_objects()
    for name, value in vars(module).items():
        if name not in known and _is_own(module, value) and not is_of_keras(name):
            known[name] = value


def _is_own(module: ModuleType, value: Any) -> bool:
    import keras

    if inspect.isfunction(value):
        return value.__module__ == module.__name__ and not value.__name__.startswith("_")
    kinds = (
        keras.layers.Layer,
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )
    return inspect.isclass(value) and issubclass(value, kinds)
