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
from edgevit.frontend.names import safe_name, unique_name
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
    check_layers(origin, network)
    parts = [*network._flatten_layers(), *_operations(network), *network.inputs]
    if not any(_needs_clone(part) for part in parts):
        return network
    clone = _Cloning(origin).clone(network)
    _check_same(origin, network, clone)
    return clone


def _operations(network: keras.Model) -> list[Any]:
    """Functions of keras.ops that are nodes of the graph."""
    import keras

    found = getattr(network, "operations", [])
    return [operation for operation in found if not isinstance(operation, keras.layers.Layer)]


def _needs_clone(part: Any) -> bool:
    """Whether a layer, function or input has another precision, LoRA, or an unsafe name."""
    types = {getattr(part, name, None) for name in ("compute_dtype", "variable_dtype", "dtype")}
    narrow = any(kind in types for kind in NARROW)
    return narrow or getattr(part, "lora_enabled", False) or part.name != safe_name(part.name)


class _Cloning:
    """Makes every layer again, with the same weights.

    Args:
        origin: what errors call the network.
    """

    def __init__(self, origin: str):
        self.origin = origin
        self.pairs: list[tuple[Any, Any]] = []

    def clone(self, network: keras.Model) -> keras.Model:
        """The network again, the models inside it too."""
        import keras

        if isinstance(network, keras.Sequential):  # as the functional model inside it
            network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
        taken: set[str] = set()
        inputs = keras.tree.map_structure(lambda tensor: _clone_input(tensor, taken), network.input)
        with _new_layers_in(FLOAT), keras.saving.custom_object_scope(_classes(network)):
            found = keras.models.clone_model(
                network, input_tensors=inputs, clone_function=self._clone_part, recursive=True
            )
        for before, after in self.pairs:
            _copy_weights(self.origin, before, after)
        _make_names_safe(found)
        return found

    def _clone_part(self, part: Any) -> Any:
        """A layer again, or a function of keras.ops."""
        import keras

        if not isinstance(part, keras.layers.Layer):
            return _clone_operation(part)
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
            dtype=FLOAT if _needs_clone(layer) else layer.dtype_policy,
        )
    config = _in_float(layer.get_config())
    return type(layer).from_config({key: config[key] for key in config if key not in LORA})


LORA = ("lora_rank", "lora_alpha")


def _in_float(config: Any) -> Any:
    """A layer's config, and those of layers inside it, without other policies."""
    if isinstance(config, dict):
        return {
            key: FLOAT if key == "dtype" and _is_narrow(value) else _in_float(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_in_float(value) for value in config)
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
        if layer.name != safe_name(layer.name):
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
        with _in_policy(network, FLOAT):
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
def _in_policy(network: keras.Model, policy: str) -> Iterator[None]:
    """Another policy for every layer, for a while."""
    layers = network._flatten_layers()
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            if any(kind in NARROW for kind in (layer.compute_dtype, layer.variable_dtype)):
                layer.dtype_policy = policy
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.dtype_policy = own
