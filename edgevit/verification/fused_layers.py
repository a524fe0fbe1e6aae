"""Tensors that hold more than the layer they are named after: steps that compute several layers.

A convolution takes in the normalisation and the activation behind it. The file's tensor has the
name of the convolution, or of what does the work, and holds what the activation returns. Values
tell where a step ends, and where a fault hides that, the other steps of the same layers do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np

from edgevit.core.layer_errors import FloatLayer, Role
from edgevit.formats.intermediate import IntermediateTensor

CLEARLY = 0.1  # unlikeness of the layer that a step ends with, as a share of that of its first
OTHER = 0.01  # unlikeness beyond what rounding does: a tensor is no layer's output


def find_ends(
    layers: Sequence[FloatLayer],
    named: Container[str],
    chosen: Mapping[str, IntermediateTensor],
    likeness: Callable[[FloatLayer, IntermediateTensor], float],
) -> dict[str, list[str]]:
    """The layers that a step computes beside the one that its tensor is named after.

    Args:
        layers: of the float model, in the order of computation.
        named: paths of layers that have tensors of their own.
        chosen: the tensor of each layer, by path.
        likeness: of a layer's output and a tensor.

    Returns:
        Paths of the layers that follow in the step, the last one at the end, by the path of the
        first; only steps of several layers.
    """
    chains = {
        layer.path: _follow(layers[place:], named)
        for place, layer in enumerate(layers)
        if layer.path in chosen
    }
    ends = {
        path: _likest([likeness(layer, chosen[path]) for layer in chain])
        for path, chain in chains.items()
        if len(chain) > 1
    }
    votes: dict[tuple[str, ...], Counter[int]] = {}
    for path, end in ends.items():
        votes.setdefault(_kinds(chains[path]), Counter())[end] += 1
    found = {}
    for path, end in ends.items():
        usual, count = votes[_kinds(chains[path])].most_common(1)[0]
        most = 2 * count > votes[_kinds(chains[path])].total() and count > 1
        chain = chains[path][1 : 1 + (usual if most else end)]
        if chain:
            found[path] = [layer.path for layer in chain]
    return found


def find_split(
    layers: Sequence[FloatLayer],
    chosen: Mapping[str, IntermediateTensor],
    likeness: Callable[[FloatLayer, IntermediateTensor], float],
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
        first = by_path.get(layer.before)
        if first is None or not {first.path, layer.path} <= chosen.keys():
            continue
        if math.prod(first.shape) != math.prod(layer.shape):
            continue
        unlike = 1 - likeness(first, chosen[first.path])
        if unlike > OTHER and 1 - likeness(layer, chosen[layer.path]) < CLEARLY * unlike:
            found[first.path] = layer.path
    return found


def _follow(layers: Sequence[FloatLayer], named: Container[str]) -> list[FloatLayer]:
    """The first layer, and those behind it of its size that have no tensors."""
    chain = [layers[0]]
    for layer in layers[1:]:
        if layer.role in (Role.PASSES, Role.CONTAINS):
            continue
        same = math.prod(layer.shape) == math.prod(layers[0].shape)
        if layer.role is not Role.COMPUTES or layer.path in named or not same:
            break
        chain.append(layer)
    return chain


def _likest(likeness: Sequence[float]) -> int:
    """The place of the layer whose output a tensor clearly is; 0 where none is."""
    unlike = [1 - value for value in likeness]
    best = int(np.argmin(unlike))
    return best if unlike[best] < CLEARLY * unlike[0] else 0


def _kinds(chain: Sequence[FloatLayer]) -> tuple[str, ...]:
    return tuple(layer.kind for layer in chain)
