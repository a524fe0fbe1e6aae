"""From a config to a keras.Model, with errors that say what to do."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgevit.base.errors import EdgevitError, ModelFileError, in_one_line
from edgevit.frontend.sources.configs import (
    Config,
    claim_own,
    describe_unknown,
    find_unknown,
    own_classes,
    own_name,
    without_training,
)
from edgevit.frontend.sources.keras2_config import is_keras2, upgrade_model

if TYPE_CHECKING:
    import keras

FORGOTTEN = "freshly-initialized"  # how Keras warns of weights that a file lacks
UNFIT = re.compile(r"could not be loaded.*?object <\w+ name=(?P<layer>[^,>]+)", re.DOTALL)


def build_from_config(origin: str, config: Config, version: str | None, trust: bool) -> keras.Model:
    """Builds a model with fresh weights.

    Args:
        origin: what errors call the file.
        config: ``{"class_name": ..., "config": ...}`` of the whole model.
        version: of Keras that wrote it; None: older than that.
        trust: whether it may run Python code that it contains.

    Raises:
        ModelFileError: it needs classes that nobody registered, or Keras refuses it.
    """
    import keras
    from keras.src.saving.serialization_lib import ObjectSharingScope

    from edgevit.frontend.sources import keras2_layers

    keras2_layers.register()
    keras2 = is_keras2(version)
    if keras2 or "module" not in config:
        config = upgrade_model(config, keras2)
    config = claim_own(without_training(config))
    with explained(origin, lambda: config), ObjectSharingScope():
        return keras.saving.deserialize_keras_object(
            copy.deepcopy(config),  # Keras takes it apart
            custom_objects=own_objects(),
            safe_mode=not trust,
        )


def own_objects() -> dict[str, type]:
    """Every layer class of this package by the name that :func:`claim_own` gives it."""
    return {own_name(name): value for name, value in own_classes().items()}


@contextmanager
def explained(origin: str, config: Callable[[], Config]) -> Iterator[None]:
    """Turns whatever Keras raises while a model is built and filled into one line.

    Args:
        origin: what errors call the file.
        config: of the model, for the names of what is missing.

    Raises:
        ModelFileError: the line.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yield
        except EdgevitError:
            raise
        except Exception as error:  # Keras raises TypeError, ValueError, KeyError, OSError ...
            own = _find_own(error)
            unknown = find_unknown(config())
            if own is None and unknown:
                raise describe_unknown(origin, unknown) from None
            unfit = UNFIT.search(str(error))
            if unfit:
                raise wrong_weights(
                    origin, f"its weights do not fit layer {unfit['layer']!r}"
                ) from None
            reason = own or in_one_line(_shorten(str(error)), 240)
            raise ModelFileError(f"{origin}: Keras cannot load it ({reason}).") from None
    for warning in said:
        if FORGOTTEN in str(warning.message):
            raise wrong_weights(origin, "weights of some layers are missing")


def _find_own(error: BaseException) -> str | None:
    """The message of an error of ours that Keras wrapped into another."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EdgevitError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _shorten(text: str) -> str:
    """Leaves out the config that Keras repeats in its errors; the reason comes after it."""
    head, _, reason = text.rpartition("Exception encountered: ")
    return reason if head else text


def wrong_weights(origin: str, reason: str) -> ModelFileError:
    """The refusal of weights that are not those of the network."""
    return ModelFileError(
        f"{origin}: {reason}. The weights belong to another network, or to another version of it."
    )
