"""Every kind of vision model that an export must carry over, as a small lively Keras model.

There are kinds of models, one for each layer of Keras, and published networks.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kinds import (
    building_blocks,
    every_place,
    hub_zoo,
    layers_zoo,
    many_inputs,
    networks_zoo,
    whole_picture,
)
from kinds.kind import Kind

if TYPE_CHECKING:
    import keras

KINDS: dict[str, Kind] = {
    kind.name: kind
    for room in (whole_picture, every_place, many_inputs, building_blocks)
    for kind in room.KINDS
}
LAYERS: dict[str, Kind] = {kind.name: kind for kind in layers_zoo.KINDS}
NETWORKS: dict[str, Kind] = {kind.name: kind for kind in (*networks_zoo.KINDS, *hub_zoo.KINDS)}
ZOO: dict[str, Kind] = {**KINDS, **LAYERS, **NETWORKS}  # no two have one name
SEED = 5  # of the weights; inputs of other seeds are new to the model


def build_kind(kind: Kind, seed: int = SEED) -> keras.Model:
    """A kind's model with lively weights; the same seed makes the same model."""
    import keras

    from kinds.float_model import prepare
    from kinds.lively import align_head, calm, liven

    keras.utils.set_random_seed(seed)
    model = kind.build()
    entering = prepare(kind, model, kind.draw(kind.settled_on, seed=1))
    liven(model, entering, seed, kind.units)
    if kind.deep:
        calm(model, entering, seed)
    if kind.head is not None:
        align_head(model, entering, kind.head, seed)
    return model


@cache
def built(name: str) -> keras.Model:
    """The model of a kind, built once a process. To be read only."""
    return build_kind(ZOO[name])
