"""Tensors that hold more than the layer they are named after: steps that compute several layers.

A convolution takes in the normalisation and the activation behind it. The file's tensor has the
name of the convolution, or of what does the work, and holds what the activation returns. Values
tell where a step ends, and where a fault hides that, the other steps of the same layers do.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np

from edgevit.core.layer_errors import FloatLayer, Role
from edgevit.formats.intermediate import IntermediateTensor

CLEARLY = 0.1  # unlikeness of the layer that a step ends with, as a share of that of its first
OTHER = 0.01  # unlikeness beyond what rounding does: a tensor is no layer's output
# (layer, tensor) -> how alike their values are, in [-1, 1]
Likeness = Callable[[FloatLayer, IntermediateTensor], float]


def find_ends(
    layers: Sequence[FloatLayer],
    named: Container[str],
    chosen: Mapping[str, IntermediateTensor],
    likeness: Likeness,
    nearness: Likeness,
) -> dict[str, list[str]]:
    """The layers that a step computes beside the one that its tensor is named after.

    Args:
        layers: of the float model, in the order of computation.
        named: paths of layers that have tensors of their own.
        chosen: the tensor of each layer, by path.
        likeness: of a layer's output and a tensor, whatever their sizes: 1 if one is a multiple of
            the other.
        nearness: likewise, 1 if they are of one size too. It tells a layer that multiplies with one
            number, as LayerScale does before it was trained, from the one before.

    Returns:
        Paths of the layers that follow in the step, the last one at the end, by the path of the
        first; only steps of several layers.
    """
    behind = _list_followers(layers)
    chains = {layer.path: _follow(layer, behind, named) for layer in layers if layer.path in chosen}
    chains = {path: chain for path, chain in chains.items() if len(chain) > 1}
    ends = {
        path: _find_end(chain, chosen[path], likeness, nearness) for path, chain in chains.items()
    }
    votes: dict[tuple[str, ...], Counter[int]] = {}
    for path, end in ends.items():
        if end is not None:
            votes.setdefault(_kinds(chains[path]), Counter())[end] += 1
    found = {}
    for path, end in ends.items():
        usual, count = (votes.get(_kinds(chains[path])) or Counter({0: 0})).most_common(1)[0]
        most = count > 1 and 2 * count > votes[_kinds(chains[path])].total()
        if most:
            end = usual
        elif end is None:
            end = _last_named(chains[path], chosen[path])
        chain = chains[path][1 : 1 + end]
        if chain:
            found[path] = [layer.path for layer in chain]
    return found


def find_split(
    layers: Sequence[FloatLayer],
    chosen: Mapping[str, IntermediateTensor],
    likeness: Likeness,
) -> dict[str, str]:
    """Layers that end in the step of the layer behind them, as a table that holds two activations.

    The tensor of such a layer is what it has before its activation. What it returns is nowhere in
    the file; what the layer behind it returns is.

    Args:
        layers: of the float model, in the order of computation.
        chosen: the tensor of each layer, by path.
        likeness: of a layer's output and a tensor.

    Returns:
        Path of the layer behind, by that of the layer.
    """
    by_path = {layer.path: layer for layer in layers}
    found = {}
    for layer in layers:
        first = by_path.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        if first is None or not {first.path, layer.path} <= chosen.keys():
            continue
        if math.prod(first.shape) != math.prod(layer.shape):
            continue
        unlike = 1 - likeness(first, chosen[first.path])
        if unlike > OTHER and 1 - likeness(layer, chosen[layer.path]) < CLEARLY * unlike:
            found[first.path] = layer.path
    return found


def _list_followers(layers: Sequence[FloatLayer]) -> dict[str, list[FloatLayer]]:
    """The layers that are called with a layer's output, by its path."""
    found: dict[str, list[FloatLayer]] = {}
    for layer in layers:
        if layer.role not in (Role.PASSES, Role.CONTAINS):
            for path in layer.inputs:
                found.setdefault(path, []).append(layer)
    return found


def _follow(
    first: FloatLayer, followers: Mapping[str, Sequence[FloatLayer]], named: Container[str]
) -> list[FloatLayer]:
    """The first layer, and those behind it of its size that have no tensors."""
    chain = [first]
    while len(behind := followers.get(chain[-1].path, ())) == 1:
        (layer,) = behind
        same = math.prod(layer.shape) == math.prod(first.shape)
        alone = layer.inputs == (chain[-1].path,)
        if layer.role is not Role.COMPUTES or layer.path in named or not (same and alone):
            break
        chain.append(layer)
    return chain


def _find_end(
    chain: Sequence[FloatLayer],
    tensor: IntermediateTensor,
    likeness: Likeness,
    nearness: Likeness,
) -> int | None:
    """The place of the layer whose output a tensor is, by its values.

    Sizes are looked at only where the first layer is alike and of another size.
    """
    alike = [likeness(layer, tensor) for layer in chain]
    end = _likest(alike)
    if end != 0 or 1 - nearness(chain[0], tensor) <= OTHER:
        return end
    other = _likest([nearness(layer, tensor) for layer in chain])
    return end if other is None or 1 - alike[other] >= OTHER else other


def _likest(likeness: Sequence[float]) -> int | None:
    """The place of the layer whose output a tensor clearly is; None where a fault hides it."""
    unlike = [1 - value for value in likeness]
    best = int(np.argmin(unlike))
    if unlike[best] < CLEARLY * unlike[0]:
        return best
    return 0 if unlike[0] < CLEARLY else None


def _last_named(chain: Sequence[FloatLayer], tensor: IntermediateTensor) -> int:
    """The place of the last layer that a tensor's name tells of."""
    told = told_names(tensor.name)
    places = [place for place, layer in enumerate(chain) if layer.path.split("/")[-1] in told]
    return max(places, default=0)


def told_names(tensor: str) -> set[str]:
    """Names of layers that a tensor's name may tell of."""
    parts = re.split("[/;:]", tensor)
    return {re.sub(r"(_\d+)?$", "", part) for part in parts} | set(parts)


def _kinds(chain: Sequence[FloatLayer]) -> tuple[str, ...]:
    return tuple(layer.kind for layer in chain)
