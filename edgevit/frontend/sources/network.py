"""A keras.Model as a network that can be exported: built, in float32, with finite weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgevit.base.bounds import LAYER_BYTES
from edgevit.base.errors import ModelFileError, in_one_line
from edgevit.core.tensors import Preprocess
from edgevit.frontend.names import safe_name
from edgevit.frontend.sources.float_network import as_float_network
from edgevit.frontend.sources.publishers import read_preprocessor
from edgevit.models.weights import TrainedModel, check_weights, digest_weights

if TYPE_CHECKING:
    import keras


def describe_network(
    model: keras.Model, title: str, origin: str, preprocess: Preprocess | None = None
) -> TrainedModel:
    """Checks a model, and brings it into the form that exports start from.

    Args:
        model: of somebody else; it is left as it is.
        title: what its files are called.
        origin: what errors call it.
        preprocess: raw pixels to what it takes, where its publisher says so; None: what a
            preprocessor that hangs on it says.

    Raises:
        ModelFileError: it was never built, has no input or output, weights that are not finite, or
            layers that cannot be exported.
    """
    import keras

    network = as_functional(model, origin)
    if not getattr(network, "inputs", None) or not network.outputs:
        raise ModelFileError(f"{origin}: {_why_unbuilt(model)}")
    if isinstance(network, keras.Sequential):  # as the functional model inside it
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    check_sizes(origin, network)
    check_finite(origin, network)
    network = as_float_network(network, origin)
    if network is not model and getattr(model, "loss", None) is not None:
        network.loss = model.loss  # says what the outputs are
    digest = digest_weights(network.get_weights())
    told = preprocess or read_preprocessor(model)
    return TrainedModel(None, network, (), digest, None, safe_name(title), told)


def check_finite(origin: str, network: keras.Model) -> None:
    """Refuses a network with a weight that is NaN or infinity.

    Raises:
        ModelFileError: the name of the weight.
    """
    check_weights(origin, network, network.get_weights())


def check_sizes(origin: str, network: keras.Model) -> None:
    """Refuses a network that would fill the memory with one sample.

    Raises:
        ModelFileError: the layer, and what it returns.
    """
    import keras

    for layer in network._flatten_layers(include_self=False):
        outputs = [node.output_tensors for node in layer._inbound_nodes]
        for tensor in keras.tree.flatten(outputs):
            size = 4 * math.prod(int(side or 1) for side in tensor.shape)
            if size > LAYER_BYTES:
                raise ModelFileError(
                    f"{origin}: layer {layer.name!r} returns {tuple(tensor.shape)}, "
                    f"{size / 1e9:.1f} GB for one sample; the limit is {LAYER_BYTES / 1e9:.1f} GB."
                )


def as_functional(model: keras.Model, origin: str) -> keras.Model:
    """A subclassed model that was built, wrapped so that it has inputs and outputs.

    Raises:
        ModelFileError: it does not run on symbolic inputs.
    """
    import keras

    if getattr(model, "inputs", None) or not model.built:
        return model
    config = model.get_build_config() or {}
    shapes = config.get("shapes_dict") or {"": config.get("input_shape")}
    entries = {name.removesuffix("_shape"): _enter(name, shape) for name, shape in shapes.items()}
    if any(entry is None for entry in entries.values()):
        return model
    try:
        outputs = model(entries[""]) if "" in entries else model(**entries)
        return keras.Model(entries.get("", entries), outputs, name=safe_name(model.name))
    except Exception as error:  # whatever a user's call raises on symbolic tensors
        raise ModelFileError(
            f"{origin}: the call of {type(model).__name__} fails on symbolic inputs "
            f"({type(error).__name__}: {in_one_line(error, 200)}). Wrap it: "
            "keras.Model(inputs, model(inputs))."
        ) from None


def _enter(name: str, shape: Any) -> Any:
    """Inputs for a shape that a model was built on, or for a structure of shapes; else None."""
    import keras

    if isinstance(shape, dict):
        return {key: _enter(key, part) for key, part in shape.items()}
    if not isinstance(shape, (list, tuple)):
        return None
    if all(size is None or isinstance(size, int) for size in shape):
        alone = "images" if len(shape) == 4 else "input"
        return keras.Input(tuple(shape[1:]), name=name.removesuffix("_shape") or alone)
    return [_enter(f"{name or 'input'}_{number}", part) for number, part in enumerate(shape, 1)]


def _why_unbuilt(model: keras.Model) -> str:
    """The reason why a model has no inputs, and the remedy."""
    import keras

    if isinstance(model, keras.Sequential):
        return (
            "a Sequential model without an input shape. Begin it with keras.Input(shape), and save "
            "it again."
        )
    if not model.built:
        return (
            f"{type(model).__name__} was never built. Call it once on an input of the right shape "
            "before it is saved or returned."
        )
    return (
        f"{type(model).__name__} does not say which inputs it was built on. Wrap it: "
        "keras.Model(inputs, model(inputs))."
    )
