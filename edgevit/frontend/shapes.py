"""Sizes of a model's inputs: which are pictures, and what fixes those that are free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgevit.base.errors import ConfigError, check_names, in_one_line
from edgevit.core.tensors import show_shape

if TYPE_CHECKING:
    import keras

MOST_CHANNELS = 32  # of a picture; what has more is a map of features


def is_picture(shape: tuple[int | None, ...]) -> bool:
    """Whether an input takes pictures B H W C, or clips of them B T H W C."""
    return len(shape) in (4, 5) and shape[-1] is not None and shape[-1] <= MOST_CHANNELS


def fix_shapes(
    network: keras.Model,
    names: tuple[str, ...],
    given: Mapping[str, tuple[int | None, ...]],
    opening: Mapping[str, Any],
    origin: str,
) -> keras.Model:
    """The network with sizes for everything but the batch.

    Args:
        network: with inputs.
        names: of the inputs.
        given: shapes by name, the batch first.
        opening: ``image_size`` fixes the size of pictures where nothing else does.
        origin: how errors call the model.

    Raises:
        UnknownNameError: it has no such input.
        ConfigError: a size is free, or a shape does not fit.
    """
    check_names(f"input of {origin}", given, names)
    wanted = []
    for name, tensor in zip(names, network.inputs, strict=True):
        own = tuple(tensor.shape)
        shape = _fit(name, own, given.get(name), origin)
        size = opening.get("image_size")
        if is_picture(own) and size is not None:
            pairs = zip(shape[-3:-1], size, strict=True)
            shape = (*shape[:-3], *(known or side for known, side in pairs), shape[-1])
        if None in shape[1:]:
            sizes = show_shape((1, *shape[1:]), "x")
            example = "x".join(str(part or 224) for part in (1, *shape[1:]))
            raise ConfigError(
                f"{origin}: its input {name!r} is {sizes}, and an exported file needs every size. "
                f"Give --input-shape {name}={example}."
            )
        wanted.append(shape)
    if all(
        tuple(tensor.shape)[1:] == shape[1:]
        for tensor, shape in zip(network.inputs, wanted, strict=True)
    ):
        return network
    return _call_on(network, names, wanted, origin)


def _call_on(
    network: keras.Model,
    names: tuple[str, ...],
    shapes: list[tuple[int | None, ...]],
    origin: str,
) -> keras.Model:
    import keras

    from edgevit.frontend.source import pack_inputs

    entering = [
        keras.Input(shape[1:], name=name, dtype=tensor.dtype)
        for name, shape, tensor in zip(names, shapes, network.inputs, strict=True)
    ]
    packed = pack_inputs(network, entering)
    try:
        return keras.Model(packed, network(packed), name=network.name)
    except Exception as error:  # whatever a layer raises for a size that it cannot take
        listed = ", ".join(
            f"{n}={'x'.join(map(str, s[1:]))}" for n, s in zip(names, shapes, strict=True)
        )
        raise ConfigError(
            f"{origin}: it cannot take {listed} ({in_one_line(error, 240)})."
        ) from None


def _fit(
    name: str,
    own: tuple[int | None, ...],
    given: tuple[int | None, ...] | None,
    origin: str,
) -> tuple[int | None, ...]:
    if given is None:
        return own
    fits = len(given) == len(own) and all(
        size is None or wanted == size for size, wanted in zip(own[1:], given[1:], strict=True)
    )
    if not fits:
        wanted, actual = show_shape(given, "x"), show_shape(own, "x")
        raise ConfigError(
            f"{origin}: --input-shape {name}={wanted} does not fit its input of {actual}."
        )
    return (own[0], *given[1:])


def count_levels(network: keras.Model, tensor: Any) -> int:
    """How many values an integer input may take: as many as the first layer that looks it up knows.

    2 where there is none.
    """
    for layer in network._flatten_layers(include_self=False, recursive=True):
        levels = _levels_of(layer)
        if levels is not None:
            nodes = getattr(layer, "_inbound_nodes", ())
            if any(part is tensor for node in nodes for part in node.input_tensors):
                return levels
    return 2


def _levels_of(layer: Any) -> int | None:
    """How many values a layer can look up; None for one that looks nothing up."""
    import keras

    if isinstance(layer, keras.layers.IntegerLookup):
        return 2 + max(int(value) for value in layer.get_vocabulary())  # one that it does not know
    if isinstance(layer, keras.layers.CategoryEncoding):
        return layer.num_tokens
    return int(layer.input_dim) if isinstance(layer, keras.layers.Embedding) else None
