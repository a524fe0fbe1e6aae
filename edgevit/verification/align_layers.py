"""Which tensor of a file holds the output of which Keras layer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from edgevit.core.layer_errors import FloatLayer, Role
from edgevit.formats.intermediate import InnerTensor

CLEARLY = 0.1  # unlikeness of a better candidate, as a share of that of the last

# (layer, tensor) -> how alike their values are, in [-1, 1]
Likeness = Callable[[FloatLayer, InnerTensor], float]


def find_candidates(
    layers: Sequence[FloatLayer], tensors: Iterable[InnerTensor], batch: int
) -> dict[str, list[InnerTensor]]:
    """For each layer the tensors that may be its output, in the order of computation.

    A tensor belongs to the innermost layer that its name is inside of. It may be the output if it
    has as many elements. Numbers at the end of a name do not count where the file lost them.

    Args:
        layers: of the float model.
        tensors: of the file.
        batch: images in a run of the file.
    """
    by_path = {layer.path: [layer] for layer in layers}
    by_stem: dict[str, list[FloatLayer]] = {}
    for layer in layers:
        by_stem.setdefault(_stem(layer.path), []).append(layer)
    found: dict[str, list[InnerTensor]] = {}
    for tensor in tensors:
        for owner in _owners(tensor.layer, by_path, by_stem):
            fits = math.prod(tensor.shape) == batch * math.prod(owner.shape)
            if owner.role is Role.COMPUTES and tensor.shape and fits:
                found.setdefault(owner.path, []).append(tensor)
    return found


def choose_tensors(
    layers: Sequence[FloatLayer], candidates: dict[str, list[InnerTensor]], likeness: Likeness
) -> dict[str, InnerTensor]:
    """The output of each layer among its candidates: the last one.

    Values decide in two cases: where a converter named something after the layer that comes behind
    it (an earlier candidate is then clearly more like the float layer's output), and where several
    layers share their candidates, since the file lost the numbers in their names.

    Args:
        layers: of the float model, in the order of computation.
        candidates: of :func:`find_candidates`.
        likeness: of a layer's output and a tensor.
    """
    chosen: dict[str, InnerTensor] = {}
    users: dict[str, set[str]] = {}
    for path, tensors in candidates.items():
        for tensor in tensors:
            users.setdefault(tensor.name, set()).add(path)
    taken: set[str] = set()
    for layer in layers:
        tensors = candidates.get(layer.path, [])
        if not tensors:
            continue
        if all(len(users[tensor.name]) == 1 for tensor in tensors):
            chosen[layer.path] = _pick(layer, tensors, likeness)
            continue
        free = [tensor for tensor in tensors if tensor.name not in taken]
        if free:
            best = max(free, key=lambda tensor: (likeness(layer, tensor), tensor.place))
            chosen[layer.path] = best
            taken.add(best.name)
    return chosen


def _pick(layer: FloatLayer, tensors: list[InnerTensor], likeness: Likeness) -> InnerTensor:
    if len(tensors) == 1:
        return tensors[0]
    unlike = [1 - likeness(layer, tensor) for tensor in tensors]
    best = int(np.argmin(unlike))
    return tensors[best] if unlike[best] < CLEARLY * unlike[-1] else tensors[-1]


def arrange(
    values: np.ndarray, shape: tuple[int, ...], wanted: tuple[int, ...], like: np.ndarray
) -> np.ndarray:
    """A tensor's values in the axes of the Keras layer.

    Args:
        values: float32 B and the elements of an image.
        shape: of the tensor in the file.
        wanted: shape of the layer's output without the batch.
        like: B and ``wanted``; decides where both layouts fit.

    Returns:
        float32 B and ``wanted``.
    """
    count = len(values)
    straight = values.reshape(count, *wanted)
    channels_first = (wanted[-1], *wanted[:-1])
    if len(wanted) < 2 or tuple(shape[-len(wanted) :]) != channels_first:
        return straight
    turned = np.moveaxis(values.reshape(count, *channels_first), 1, -1)  # B C ... -> B ... C
    if channels_first == tuple(wanted) and alike(straight, like) >= alike(turned, like):
        return straight
    return np.ascontiguousarray(turned)


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two arrays, in [-1, 1]; -1 where one is not finite, 0 where one is zero."""
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    size = float(np.sqrt((a @ a) * (b @ b)))
    if not np.isfinite(size):
        return -1.0
    return float(a @ b) / size if size > 0 else 0.0


def _owners(
    path: str, by_path: dict[str, list[FloatLayer]], by_stem: dict[str, list[FloatLayer]]
) -> list[FloatLayer]:
    parts = path.split("/")
    for length in range(len(parts), 0, -1):
        name = "/".join(parts[:length])
        if name in by_path:
            same = by_stem[_stem(name)]
            # A bare "dense" may stand for "dense_1" too, where numbers were dropped.
            return same if name == _stem(name) and len(same) > 1 else by_path[name]
        if name in by_stem:
            return by_stem[name]
    return []


def _stem(path: str) -> str:
    return "/".join(re.sub(r"(_\d+)+$", "", part) for part in path.split("/"))
