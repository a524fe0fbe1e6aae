"""Outputs of every layer of the float Keras model, in the order of its calls."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from edgevit.core.layer_errors import (
    PREPROCESSING,
    FloatLayer,
    FloatNetwork,
    Look,
    Role,
    Visitor,
)
from edgevit.core.samples import Inputs, take_samples
from edgevit.data.datasets import digest_arrays
from edgevit.frontend.record_reference import by_name
from edgevit.frontend.source import Source

# (path, layer, what it does, its result, arguments, results of the layers inside of it) -> what
# takes the place of its result, or None
Note = Callable[[str, Any, Role, Any, tuple[Any, ...], list[Any]], Any]


KEPT_BYTES = 128 << 20  # of outputs that are shown again


def record_layers(source: Source, images: Inputs, keep: bool = False) -> FloatNetwork:
    """The network as a comparison layer by layer needs it.

    Args:
        source: the model.
        images: B ... of every input; the first is run to list the layers.
        keep: whether outputs are kept, for several files that are held against the same.
    """
    visit = partial(visit_layers, source)
    layers = list_layers(source, take_samples(images, 0, 1))
    return FloatNetwork(source.name, layers, visit, KeptOutputs(visit) if keep else visit)


class KeptOutputs:
    """Shows what every layer computes, and keeps it for the next time, up to KEPT_BYTES in all.

    Args:
        visit: runs the network, as :func:`visit_layers`.
    """

    def __init__(self, visit: Callable[[Inputs, Visitor], None]):
        self._visit = visit
        self._free = KEPT_BYTES
        self._kept: dict[str, list[tuple[str, np.ndarray]]] = {}

    def __call__(self, images: Inputs, look: Look) -> None:
        """Calls ``look`` with each layer's path and its float32 B ... output, which stays as it is.

        Args:
            images: B ... of every input.
            look: is told.
        """
        key = _digest(images)
        if key not in self._kept:
            self._keep(key, images, look)
            return
        for path, value in self._kept[key]:
            look(path, value)

    def _keep(self, key: str, images: Inputs, look: Look) -> None:
        values: list[tuple[str, np.ndarray]] = []
        free = self._free

        def note(path: str, value: np.ndarray) -> None:
            nonlocal free
            free -= value.nbytes
            if free >= 0:
                values.append((path, value))
            else:
                values.clear()
            look(path, value)

        self._visit(images, note)
        if free >= 0:
            self._free, self._kept[key] = free, values


def _digest(images: Inputs) -> str:
    arrays = images if isinstance(images, Mapping) else {"": images}
    return digest_arrays(*(arrays[name] for name in sorted(arrays)))


def list_layers(source: Source, images: Inputs) -> tuple[FloatLayer, ...]:
    """The layers of a network in the order in which they finish, by one run of it.

    Args:
        source: the model.
        images: B ... of every input; one is enough.
    """
    found: dict[str, FloatLayer] = {}
    makers: dict[int, tuple[tuple[str, ...], Any]] = {}  # of a value: (its layers' paths, itself)
    used: set[int] = set()  # what a layer has been called with

    def find_makers(args: Any) -> tuple[str, ...]:
        paths = [makers[id(given)][0] for given in _flat(args) if id(given) in makers]
        return tuple(dict.fromkeys(itertools.chain.from_iterable(paths)))

    def note_operation(args: Any, result: Any) -> None:
        for value in _flat(result):
            makers.setdefault(id(value), (find_makers(args), value))

    def note(
        path: str, layer: Any, role: Role, value: Any, args: tuple[Any, ...], inside: list[Any]
    ) -> Any:
        kind = type(layer).__name__
        computes = role is Role.COMPUTES
        shape = tuple(int(size) for size in value.shape[1:]) if computes else ()
        if path in found and Role.COMPUTES in (role, found[path].role):
            before = found[path].inputs
            found[path] = FloatLayer(path, kind, (), Role.REPEATED, inputs=before)
        else:
            affine = _affine(layer, value.shape) if computes else None
            # What a layer computes after those inside of it comes from results that none of them
            # has used.
            last = [made for made in inside if id(made) in makers and id(made) not in used]
            inputs = find_makers(last or args)
            found.setdefault(path, FloatLayer(path, kind, shape, role, affine, inputs))
        if computes:
            makers[id(value)] = (path,), value
        if role is not Role.PASSES:
            used.update(id(given) for given in _flat(args) if id(given) in makers)
        return None

    entering = source.prepare(by_name(source, images))
    if len(entering) == 1 and source.signature.inputs[0].preparation:
        shape = tuple(map(int, entering[0].shape[1:]))
        found[PREPROCESSING] = FloatLayer(PREPROCESSING, "Preprocessing", shape, Role.COMPUTES)
    with _watched(note, note_operation):
        source.call(entering)
    return tuple(found.values())


def visit_layers(source: Source, images: Inputs, visit: Visitor) -> None:
    """Runs the float network and shows what every layer computes, in the order of computation.

    Args:
        source: the model.
        images: B ... of every input.
        visit: called with the path of each layer that computes something and its float32 B ...
            output; what it returns takes the place of that output for all layers behind.
    """
    from keras import ops

    def show(path: str, layer: Any, role: Role, value: Any, *called: Any) -> Any:
        if role is not Role.COMPUTES:
            return None
        found = visit(path, ops.convert_to_numpy(value))
        return None if found is None else ops.convert_to_tensor(found, dtype=value.dtype)

    entering = source.prepare(by_name(source, images))
    if len(entering) == 1 and source.signature.inputs[0].preparation:
        replaced = visit(PREPROCESSING, entering[0])
        entering = entering if replaced is None else [replaced]
    with _watched(show):
        source.call(entering)


@contextlib.contextmanager
def _watched(
    note: Note, note_operation: Callable[[Any, Any], None] | None = None
) -> Iterator[None]:
    """While the context lasts, every layer that returns passes by ``note``.

    Args:
        note: of layers.
        note_operation: of the operations between them: called with arguments and result.
    """
    import keras

    own = keras.layers.Layer.__call__
    # Of each layer that is being called: its name, and what the layers inside it returned.
    frames: list[tuple[str, list[Any]]] = []

    def call(self, *args, **kwargs):
        path = "/".join((*(name for name, _ in frames), self.name))
        inside: list[Any] = []
        frames.append((self.name, inside))
        try:
            result = own(self, *args, **kwargs)
        finally:
            frames.pop()
        result = _look_at(note, path, self, result, args, inside)
        if frames:
            frames[-1][1].append(_first(result))
        return result

    operate = keras.Operation.__call__

    def call_operation(self, *args, **kwargs):
        result = operate(self, *args, **kwargs)
        if note_operation is not None and not isinstance(self, keras.layers.Layer):
            note_operation((args, kwargs), result)
        return result

    keras.layers.Layer.__call__, keras.Operation.__call__ = call, call_operation
    try:
        yield
    finally:
        keras.layers.Layer.__call__, keras.Operation.__call__ = own, operate


def _look_at(
    note: Note,
    path: str,
    layer: Any,
    result: Any,
    args: tuple[Any, ...],
    inside: list[Any],
) -> Any:
    """Tells what a layer did; returns its result, or what takes its place."""
    value = _first(result)
    if value is None or not _is_float(value):
        role = Role.OTHER
    elif any(value is argument for argument in args):
        role = Role.PASSES
    elif any(value is made for made in inside):
        role = Role.CONTAINS
    else:
        role = Role.COMPUTES
    replaced = note(path, layer, role, value, args, inside)
    if replaced is None:
        return result
    return (replaced, *result[1:]) if isinstance(result, (tuple, list)) else replaced


def _affine(layer: Any, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """(scale, offset) of a normalisation's channels, which exporters move away."""
    import keras

    kinds = keras.layers
    if isinstance(layer, (kinds.LayerNormalization, kinds.GroupNormalization)):
        weights = layer.gamma, layer.beta
    elif isinstance(layer, kinds.RMSNormalization):
        weights = layer.scale, None
    else:
        return _affine_of_others(layer, shape)
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else (layer.axis,)
    if len(axes) != 1 or axes[0] % len(shape) != len(shape) - 1:
        return None
    return _fill_affine(*weights)


def _affine_of_others(layer: Any, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Likewise of a layer that is not Keras' own and calls its weights as those do."""
    import keras

    weights = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    for found in weights:
        if found is not None and not isinstance(found, keras.Variable):
            return None
        if found is not None and tuple(found.shape) != (shape[-1],):
            return None
    return None if hasattr(layer, "moving_mean") else _fill_affine(*weights)


def _fill_affine(scale: Any, offset: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Both as arrays, ones or zeros for the one that is None; None where both are."""
    import keras

    known = scale if offset is None else offset
    if known is None:
        return None
    ones = np.ones(known.shape, np.float32)
    return (
        ones if scale is None else keras.ops.convert_to_numpy(scale),
        0 * ones if offset is None else keras.ops.convert_to_numpy(offset),
    )


def _flat(args: Any) -> Iterator[Any]:
    """What is in arguments, lists and dicts of arguments taken apart."""
    if isinstance(args, (tuple, list, dict)):
        for given in args.values() if isinstance(args, dict) else args:
            yield from _flat(given)
    else:
        yield args


def _first(result: Any) -> Any:
    """The one tensor that a layer returned, or the first of several; None for a dict."""
    if isinstance(result, (tuple, list)):
        result = result[0] if result else None
    return result if hasattr(result, "shape") and hasattr(result, "dtype") else None


def _is_float(value: Any) -> bool:
    import keras

    return "float" in keras.backend.standardize_dtype(value.dtype) and len(value.shape) >= 2
