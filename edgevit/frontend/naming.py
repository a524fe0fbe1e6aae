"""Names of a model's inputs and outputs, as the model gives them and every format can hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgevit.base.errors import ConfigError, check_names
from edgevit.base.naming import take_name
from edgevit.core.signature import IMAGES, OutputSpec
from edgevit.frontend.names import safe_name
from edgevit.frontend.roles import describe_output, find_losses
from edgevit.frontend.shapes import is_picture

if TYPE_CHECKING:
    import keras

AUTOMATIC = re.compile(r"(input_layer|keras_tensor|input)(_\d+)?")


def name_inputs(network: keras.Model) -> tuple[str, ...]:
    """Names of the inputs, in the order of ``network.inputs``.

    Names that Keras numbered by itself depend on what the process built before: the only picture is
    called "images" then, anything else "input", "input_1" and so on.
    """
    struct = getattr(network, "_inputs_struct", None)
    keys = struct if isinstance(struct, dict) else {}
    by_tensor = {id(tensor): key for key, tensor in keys.items()}
    names = []
    for tensor in network.inputs:
        history = getattr(tensor, "_keras_history", None)
        own = history.operation.name if history and history.operation else tensor.name
        name = str(by_tensor.get(id(tensor), own))
        if AUTOMATIC.fullmatch(name):
            alone = len(network.inputs) == 1 and is_picture(tuple(tensor.shape))
            name = IMAGES if alone else "input"
        names.append(safe_name(name))
    return tell_apart(names)


def name_outputs(
    network: keras.Model,
    pictures: list[tuple[int | None, ...]],
    compiled: keras.Model | None = None,
) -> tuple[keras.Model, tuple[OutputSpec, ...]]:
    """A model whose outputs are a dict by name, and what they are, in the model's own order.

    A name that Keras numbered by itself depends on what the process built before, and on which
    process saved the model: such an output is called after the kind of its layer alone.

    Args:
        network: functional, or called once on its inputs.
        pictures: shapes of the inputs that take pictures.
        compiled: the model whose losses say what its outputs are; None: the network.
    """
    outputs = network.output
    found = _flatten(outputs, network.name)
    plain = _without_number if not isinstance(outputs, dict) else _as_it_is
    names = tell_apart([safe_name(plain(name, tensor)) for name, tensor in found])
    losses = find_losses(compiled or network, [name for name, _ in found])
    vectors = {tuple(tensor.shape) for tensor in network.inputs or () if len(tensor.shape) == 2}
    specs = tuple(
        describe_output(name, tensor, pictures, losses.get(own, ""), vectors)
        for name, (own, tensor) in zip(names, found, strict=True)
    )
    if isinstance(outputs, dict) and tuple(outputs) == names:
        return network, specs
    named = {name: tensor for name, (_, tensor) in zip(names, found, strict=True)}
    return _with_outputs(network, named), specs


def choose_outputs(
    network: keras.Model, outputs: tuple[OutputSpec, ...], wanted: tuple[str, ...] | None
) -> tuple[keras.Model, tuple[OutputSpec, ...]]:
    """The network with some of its outputs, in its own order.

    Raises:
        UnknownNameError: it has no such output.
        ConfigError: none was chosen.
    """
    if wanted is None or "all" in wanted:
        return network, outputs
    known = [output.name for output in outputs]
    if not wanted:
        raise ConfigError(f"{network.name}: no output is asked for. It has {', '.join(known)}.")
    check_names(f"output of {network.name}", wanted, known)
    kept = tuple(output for output in outputs if output.name in wanted)
    named = {output.name: network.output[output.name] for output in kept}
    return _with_outputs(network, named), kept


def _with_outputs(network: keras.Model, named: dict[str, Any]) -> keras.Model:
    """The network with these tensors of its own as outputs."""
    import keras

    struct = getattr(network, "_inputs_struct", None)
    inputs = network.inputs if struct is None else struct
    return keras.Model(inputs, named, name=network.name)


def tell_apart(names: list[str]) -> tuple[str, ...]:
    """The names with numbers behind those that occurred before."""
    taken: set[str] = set()
    return tuple(take_name(name, taken, first=1) for name in names)


def _flatten(outputs: Any, model: str, prefix: str = "") -> list[tuple[str, Any]]:
    """(name, tensor) of every output: keys of dicts, and else the layer that made it."""
    if isinstance(outputs, dict):
        pairs = [_flatten(value, model, f"{prefix}{key}") for key, value in outputs.items()]
        return [pair for part in pairs for pair in part]
    if isinstance(outputs, (list, tuple)):
        parts = [
            _flatten(value, model, f"{prefix}_{number}" if prefix else "")
            for number, value in enumerate(outputs)
        ]
        return [pair for part in parts for pair in part]
    return [(prefix or _find_maker(outputs, model), outputs)]


def _as_it_is(name: str, tensor: Any) -> str:
    return name


def _without_number(name: str, tensor: Any) -> str:
    """``dense`` of ``dense_3``, where Keras named the layer itself."""
    from keras.src.utils.naming import to_snake_case

    kinds = {type(maker).__name__ for maker in _makers(tensor)}
    plain = (to_snake_case(kind) for kind in kinds)
    return next((kind for kind in plain if re.fullmatch(rf"{kind}_\d+", name)), name)


def _makers(tensor: Any) -> Iterator[Any]:
    """The layer that made a tensor; if that is a model, the layer inside it too, and so on."""
    while (history := getattr(tensor, "_keras_history", None)) and history.operation is not None:
        yield history.operation
        inner = getattr(history.operation, "outputs", None)
        if not inner or not getattr(history.operation, "layers", None):
            return
        tensor = inner[history.tensor_index]


def _find_maker(tensor: Any, model: str) -> str:
    """Name of the layer that made a tensor; inside of the model, where it was called anew."""
    name = "output"
    for maker in _makers(tensor):
        name = str(maker.name)
        if name != model:
            break
    return name
