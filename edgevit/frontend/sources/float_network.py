"""A network whose layers compute in float32, without LoRA beside their kernels, and safely named.

What is in this form already stays the object that it is. Anything else is cloned layer by layer,
and the clone is held against the original before anybody sees it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.base.errors import EdgevitError, ModelFileError, in_one_line
from edgevit.frontend.names import is_scope, safe_name, unique_name
from edgevit.frontend.sources.refused_layers import check_layers

if TYPE_CHECKING:
    import keras

FLOAT = "float32"
NARROW = ("float16", "bfloat16", "float64")  # and the mixed policies of the first two
SIZE = 64  # of axes that are free, while a clone is held against its original
CLOSE = 1e-3  # of an output's largest value: float32 sums in another order are off by 1e-6


def as_float_network(network: keras.Model, origin: str) -> keras.Model:
    """The same function in float32 layers with safe names.

    Args:
        network: with inputs and outputs; left as it is.
        origin: what errors call it.

    Returns:
        ``network`` itself where there is nothing to do.

    Raises:
        ModelFileError: a layer that no export can hold, or that cannot be made again.
    """
    import keras

    check_layers(origin, network)
    parts = [part for part in _walk_parts(network) if part is not network]
    unsafe = any(tensor.name != safe_name(tensor.name) for tensor in network.inputs)
    if unsafe or any(_is_narrow_part(part) or not is_scope(part.name) for part in parts):
        clone = _Cloning(origin).clone(network)
        _check_same(origin, network, clone)
        return clone
    if network.name != safe_name(network.name):
        return keras.Model(network.input, network.output, name=safe_name(network.name))
    return network


def _walk_parts(network: keras.Model) -> Iterator[Any]:
    """The network, its layers, and functions of keras.ops that are nodes of its graphs."""
    import keras

    for layer in network._flatten_layers():
        yield layer
        nodes = layer.operations if hasattr(layer, "operations") else ()
        yield from (node for node in nodes if not isinstance(node, keras.layers.Layer))


def _is_narrow_part(part: Any) -> bool:
    """Whether a layer or a function has another precision than float32, or LoRA."""
    types = {getattr(part, name, None) for name in ("compute_dtype", "variable_dtype", "dtype")}
    return any(kind in types for kind in NARROW) or getattr(part, "lora_enabled", False)


class _Cloning:
    """Makes every layer again, with the same weights.

    Args:
        origin: what errors call the network.
    """

    def __init__(self, origin: str):
        self.origin = origin
        self.pairs: list[tuple[Any, Any]] = []
        self.made: dict[int, Any] = {}  # by the id of the original, which stays in memory

    def clone(self, network: keras.Model) -> keras.Model:
        """The network again, the models inside it too."""
        import keras

        with _new_layers_in(FLOAT), keras.saving.custom_object_scope(_classes(network)):
            found = self._clone_network(network)
        for before, after in self.pairs:
            _copy_weights(self.origin, before, after)
        _make_names_safe(found)
        if isinstance(found.input, dict):  # by the new names
            entries = {tensor.name: tensor for tensor in found.inputs}
            return keras.Model(entries, found.output, name=found.name)
        return found

    def _clone_network(self, network: keras.Model) -> keras.Model:
        import keras

        if isinstance(network, keras.Sequential):  # as the functional model inside it
            network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
        taken: set[str] = set()
        inputs = keras.tree.map_structure(lambda tensor: _clone_input(tensor, taken), network.input)
        return keras.models.clone_model(
            network, input_tensors=inputs, clone_function=self._clone_part
        )

    def _clone_part(self, part: Any) -> Any:
        """A layer again, a model inside, or a function of keras.ops."""
        if id(part) not in self.made:
            self.made[id(part)] = self._clone_new(part)
        return self.made[id(part)]

    def _clone_new(self, part: Any) -> Any:
        import keras

        if not isinstance(part, keras.layers.Layer):
            return _clone_operation(part)
        if _is_graph(part):
            return self._clone_network(part)
        try:
            found = _clone_layer(part)
        except EdgevitError:
            raise
        except Exception as error:  # whatever a user's get_config or __init__ raises
            raise ModelFileError(
                f"{self.origin}: layer {part.name!r} ({type(part).__name__}) must be made again in "
                f"float32, and cannot ({type(error).__name__}: {in_one_line(error, 160)}). Give "
                "its class a get_config that holds the arguments of __init__."
            ) from None
        self.pairs.append((part, found))
        return found


def _is_graph(layer: Any) -> bool:
    """Whether a layer is a model that only runs a graph of layers."""
    import keras

    functional = keras.src.models.functional.Functional
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, functional) and type(layer).call is functional.call
    )


def _clone_input(tensor: Any, taken: set[str]) -> Any:
    import keras

    dtype = FLOAT if tensor.dtype in NARROW else tensor.dtype
    name = unique_name(tensor.name, taken)
    return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=name)


def _clone_operation(operation: Any) -> Any:
    found = copy.copy(operation)
    found._inbound_nodes, found._outbound_nodes = [], []
    if getattr(found, "dtype", None) in NARROW:
        found.dtype = FLOAT
    return found


def _clone_layer(layer: Any) -> Any:
    import keras

    if isinstance(layer, keras.layers.Lambda):  # its code is here, and need not be written down
        return keras.layers.Lambda(
            layer.function,
            layer._output_shape,
            layer.mask,
            layer.arguments,
            name=layer.name,
            dtype=FLOAT if _is_narrow_part(layer) else layer.dtype_policy,
        )
    config = _float_config(layer.get_config())
    return type(layer).from_config({key: config[key] for key in config if key not in LORA})


LORA = ("lora_rank", "lora_alpha")


def _float_config(config: Any) -> Any:
    """A layer's config, and those of layers inside it, without other policies."""
    if isinstance(config, dict):
        return {
            key: FLOAT if key == "dtype" and _is_narrow(value) else _float_config(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_float_config(value) for value in config)
    return config


def _is_narrow(policy: Any) -> bool:
    """Whether a policy in a config is another than float32."""
    if isinstance(policy, dict):
        inner = policy.get("config") or {}
        return policy.get("class_name") == "DTypePolicyMap" or _is_narrow(inner.get("name"))
    return isinstance(policy, str) and (policy in NARROW or policy.startswith("mixed_"))


def _copy_weights(origin: str, before: Any, after: Any) -> None:
    """Weights of a layer and of the layers inside it; LoRA is added to the kernels."""
    pairs = [*zip(before._flatten_layers(), after._flatten_layers(), strict=False)]
    for old, new in pairs:
        values, variables = _own_values(old), _own_variables(new)
        if [value.shape for value in values] != [tuple(part.shape) for part in variables]:
            raise _unlike(origin, before)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        if hasattr(new, "finalize_state") and variables:  # what adapt() measured
            new.finalize_state()


def _own_variables(layer: Any) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _own_values(layer: Any) -> list[np.ndarray]:
    """A layer's own weights as they are used."""
    from keras import ops

    lora = getattr(layer, "lora_enabled", False)
    values = {id(variable): variable for variable in _own_variables(layer)}
    if lora:
        name = "embeddings" if hasattr(layer, "lora_embeddings_a") else "kernel"
        for part in (f"lora_{name}_a", f"lora_{name}_b"):
            values.pop(id(getattr(layer, part)))
        values[id(getattr(layer, f"_{name}"))] = getattr(layer, name)
    return [ops.convert_to_numpy(value) for value in values.values()]


def _unlike(origin: str, layer: Any) -> ModelFileError:
    return ModelFileError(
        f"{origin}: layer {layer.name!r} ({type(layer).__name__}) must be made again in float32, "
        "and what its get_config says makes another layer. Let get_config hold all arguments of "
        "__init__, and set nothing else on the layer."
    )


def _make_names_safe(network: keras.Model) -> None:
    layers = network._flatten_layers()
    taken = {layer.name for layer in layers}
    for layer in layers:
        if not is_scope(layer.name) or (layer is network and layer.name != safe_name(layer.name)):
            layer.name = unique_name(layer.name, taken)


def _classes(network: keras.Model) -> dict[str, type]:
    """The classes of all layers by name, for configs inside configs."""
    return {type(layer).__name__: type(layer) for layer in network._flatten_layers()}


@contextmanager
def _new_layers_in(policy: str) -> Iterator[None]:
    """Layers that are made get this policy, and code that is in memory already may be copied."""
    import keras
    from keras.src.saving.serialization_lib import SafeModeScope

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        with SafeModeScope(False):
            yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_same(origin: str, network: keras.Model, clone: keras.Model) -> None:
    """Holds a clone against its original, which computes in float32 for the while.

    Raises:
        ModelFileError: they return other numbers.
    """
    import keras

    free = any(None in tensor.shape[1:] for tensor in network.inputs)
    try:
        with _in_float(network):
            expected = _run(network)
    except Exception as error:  # a size that was guessed
        if free:
            return
        raise ModelFileError(
            f"{origin}: it does not run on an input of its own shape "
            f"({type(error).__name__}: {in_one_line(error, 160)})."
        ) from None
    for tensor, before, after in zip(network.outputs, expected, _run(clone), strict=True):
        limit = CLOSE * max(float(np.abs(before).max(initial=0.0)), 1e-6)
        floats = keras.backend.is_float_dtype(tensor.dtype)
        if floats and not np.allclose(before, after, rtol=0.0, atol=limit, equal_nan=True):
            raise ModelFileError(
                f"{origin}: made again in float32, its output {tensor.name!r} is another "
                f"(max |diff| {np.abs(before - after).max():.2g}). Some layer holds more than its "
                "get_config says. Build the model under keras.config.set_dtype_policy('float32'), "
                "and load the weights into it."
            )


def _run(network: keras.Model) -> list[np.ndarray]:
    """The outputs for one sample of sixteenths, which every float type holds exactly."""
    import keras

    rng = np.random.default_rng(0)

    def draw(tensor: Any) -> Any:
        shape = [tensor.shape[0] or 1, *(size or SIZE for size in tensor.shape[1:])]
        if keras.backend.is_float_dtype(tensor.dtype):
            return (rng.integers(0, 16, shape) / 16).astype(FLOAT)
        return np.zeros(shape, tensor.dtype)

    found = network(keras.tree.map_structure(draw, network.input), training=False)
    outputs = keras.tree.flatten(found)
    return [keras.ops.convert_to_numpy(keras.ops.cast(value, FLOAT)) for value in outputs]


@contextmanager
def _in_float(network: keras.Model) -> Iterator[None]:
    """All parts in float32 for a while, whatever the type of their weights."""

    before = []
    try:
        for part, attribute, value in list(_find_types(network)):
            before.append((part, attribute, getattr(part, attribute)))
            setattr(part, attribute, value)
        yield
    finally:
        for part, attribute, value in before:
            setattr(part, attribute, value)


def _find_types(network: keras.Model) -> Iterator[tuple[Any, str, Any]]:
    """(object, attribute, value in float32) wherever something has another float type."""
    import keras

    for part in _walk_parts(network):
        if isinstance(part, keras.layers.InputLayer) or not isinstance(part, keras.layers.Layer):
            name = "_dtype" if isinstance(part, keras.layers.InputLayer) else "dtype"
            if getattr(part, name, None) in NARROW:
                yield part, name, FLOAT
            continue
        if _is_narrow_part(part):
            policy = keras.DTypePolicy(FLOAT)
            policy._variable_dtype = part.variable_dtype  # unlike, so Keras casts what it reads
            yield part, "dtype_policy", policy
        for tensor in part.inputs if _is_graph(part) else ():
            if tensor.dtype in NARROW:
                yield tensor, "_dtype", FLOAT
