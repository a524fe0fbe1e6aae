"""What every layer of the float Keras model computes, one call after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.core.layer_errors import PREPROCESSING, FloatLayer, Role
from edgevit.export.source import Source

# (path of the layer, what it computed) -> what everything behind it shall see instead; or None.
Visit = Callable[[str, np.ndarray], np.ndarray | None]


@dataclass
class _Frame:
    """A layer that is being called: its name, and what the layers inside it returned."""

    name: str
    results: list[Any]


def list_layers(source: Source, images: np.ndarray) -> tuple[FloatLayer, ...]:
    """The layers of a network in the order in which they finish, by one run of it.

    Args:
        source: the model.
        images: uint8 B H W 3; one is enough.
    """
    found: dict[str, FloatLayer] = {}

    def note(path: str, kind: str, role: Role, value: Any) -> Any:
        shape = tuple(int(size) for size in value.shape[1:]) if role is Role.COMPUTES else ()
        if path in found and Role.COMPUTES in (role, found[path].role):
            found[path] = FloatLayer(path, kind, (), Role.REPEATED)
        else:
            found.setdefault(path, FloatLayer(path, kind, shape, role))
        return None

    entering = source.preprocess.apply(images)
    note(PREPROCESSING, "Preprocessing", Role.COMPUTES, entering)
    with _watched(note):
        source.network(entering, training=False)
    return tuple(found.values())


def visit_layers(source: Source, images: np.ndarray, visit: Visit) -> None:
    """Runs the float network and shows what every layer computes, in the order of computation.

    Args:
        source: the model.
        images: uint8 B H W 3.
        visit: called with the path of each layer that computes something and its float32 B ...
            output; what it returns takes the place of that output for all layers behind.
    """
    from keras import ops

    def show(path: str, kind: str, role: Role, value: Any) -> Any:
        if role is not Role.COMPUTES:
            return None
        found = visit(path, ops.convert_to_numpy(value))
        return None if found is None else ops.convert_to_tensor(found, dtype=value.dtype)

    entering = source.preprocess.apply(images)
    replaced = visit(PREPROCESSING, entering)
    with _watched(show):
        source.network(entering if replaced is None else replaced, training=False)


@contextlib.contextmanager
def _watched(note: Callable[[str, str, Role, Any], Any]) -> Iterator[None]:
    """While the context lasts, every layer that returns passes by ``note``."""
    import keras

    own = keras.layers.Layer.__call__
    frames: list[_Frame] = []

    def call(self, *args, **kwargs):
        path = "/".join((*(frame.name for frame in frames), self.name))
        frame = _Frame(self.name, [])
        frames.append(frame)
        try:
            result = own(self, *args, **kwargs)
        finally:
            frames.pop()
        result = _look_at(note, path, type(self).__name__, result, args, frame.results)
        if frames:
            frames[-1].results.append(_first(result))
        return result

    keras.layers.Layer.__call__ = call
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = own


def _look_at(
    note: Callable[[str, str, Role, Any], Any],
    path: str,
    kind: str,
    result: Any,
    args: tuple[Any, ...],
    inside: list[Any],
) -> Any:
    """Tells what a layer did; returns its result, or what takes its place."""
    value = _first(result)
    if value is None or not _is_float(value):
        note(path, kind, Role.OTHER, None)
        return result
    if any(value is given for given in args):
        note(path, kind, Role.PASSES, None)
        return result
    if any(value is made for made in inside):
        note(path, kind, Role.CONTAINS, None)
        return result
    replaced = note(path, kind, Role.COMPUTES, value)
    if replaced is None:
        return result
    return (replaced, *result[1:]) if isinstance(result, (tuple, list)) else replaced


def _first(result: Any) -> Any:
    """The one tensor that a layer returned, or the first of several; None for a dict."""
    if isinstance(result, (tuple, list)):
        result = result[0] if result else None
    return result if hasattr(result, "shape") and hasattr(result, "dtype") else None


def _is_float(value: Any) -> bool:
    import keras

    return "float" in keras.backend.standardize_dtype(value.dtype) and len(value.shape) >= 2
