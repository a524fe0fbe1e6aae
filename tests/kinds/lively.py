"""Seeded weights that behave as trained ones do: no layer is silent, and no output stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from kinds.kind import Arrays

READ = 3  # directions that a head reads
BRANCH = 0.25  # of the strength of what a residual branch is added to
KERNELS = ("kernel", "pointwise_kernel")  # of a layer that multiplies what enters with weights


def liven(
    model: keras.Model,
    inputs: Arrays | np.ndarray,
    seed: int = 0,
    units: Mapping[str, tuple[Any, Any]] | None = None,
) -> None:
    """Gives every variable of a model a value as after training.

    Kernels, biases, scales and shifts are drawn. Then, layer by layer in the order in which they
    run, what a layer computes from the inputs is brought near zero mean and unit deviation, as
    in "All you need is a good init" (Mishkin and Matas, 2016), and moved off it again by a
    seeded share. Moving statistics of batch norms are those of the real activations, moved too.
    A final layer may have units of its own.

    Args:
        model: changed in place.
        inputs: what enters the network, ready for it.
        seed: of all draws.
        units: (factor, offset) of the last weights of a layer, by its name.
    """
    rng = np.random.default_rng((seed, 41))
    layers = list({id(layer): layer for layer in model._flatten_layers()}.values())
    _draw_variables(layers, rng)
    with _measuring(layers, rng):
        model(inputs, training=False)
    for name, (factor, offset) in (units or {}).items():
        (layer,) = (layer for layer in layers if layer.name == name)
        _set_units(layer, np.asarray(factor), np.asarray(offset))


def calm(model: keras.Model, inputs: Arrays | np.ndarray, seed: int = 0) -> None:
    """Weakens residual branches, as training does, and settles the norms anew.

    With branches as strong as what they are added to, errors double in every few blocks.

    Args:
        model: changed in place.
        inputs: what enters the network, ready for it.
        seed: of how far moving statistics are off.
    """
    layers = list({id(layer): layer for layer in model._flatten_layers()}.values())
    for layer in layers:
        if isinstance(layer, keras.layers.Add):
            for variable in _end_branch(layer):
                variable.assign(variable * BRANCH)
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    with _measuring(norms, np.random.default_rng((seed, 47))):
        model(inputs, training=False)


def _end_branch(total: keras.layers.Layer) -> list[keras.Variable]:
    """Factor and offset of what a sum's branch ends with, dropout left out; none elsewhere, and
    none inside a layer of the model's own, whose graph is not known."""
    if not total._inbound_nodes:
        return []
    writer = _find_branch(total)
    while isinstance(writer, keras.layers.Dropout):
        writer = writer._inbound_nodes[0].input_tensors[0]._keras_history.operation
    if isinstance(writer, keras.layers.BatchNormalization):
        found = (writer.gamma, writer.beta)
    else:
        kernel = _kernel(writer) if isinstance(writer, keras.layers.Layer) else None
        found = () if kernel is None else (kernel, getattr(writer, "bias", None))
    return [variable for variable in found if variable is not None]


def _find_branch(total: keras.layers.Layer) -> keras.Operation:
    """What writes the one of a sum's inputs that is computed from another; the last where none."""
    writers = [tensor._keras_history.operation for tensor in total._inbound_nodes[0].input_tensors]
    for writer in writers:
        if any(_is_behind(writer, other) for other in writers if other is not writer):
            return writer
    return writers[-1]


def _is_behind(writer: keras.Operation, other: keras.Operation) -> bool:
    """Whether an operation computes from what another one writes."""
    waiting, seen = [writer], {id(writer)}
    while waiting:
        for tensor in waiting.pop()._inbound_nodes[0].input_tensors:
            operation = tensor._keras_history.operation
            if operation is other:
                return True
            if id(operation) not in seen:
                seen.add(id(operation))
                waiting.append(operation)
    return False


def align_head(model: keras.Model, inputs: Arrays | np.ndarray, name: str, seed: int = 0) -> None:
    """Lets a last Dense layer, or convolution of one pixel, read what varies most of features.

    Args:
        model: changed in place.
        inputs: what enters the network, ready for it.
        name: of the layer.
        seed: of how the directions are mixed.
    """
    layer = model.get_layer(name)
    features = _to_float(keras.Model(model.inputs, layer.input)(inputs, training=False))
    features = features.reshape(len(features), -1)
    shape = tuple(layer.kernel.shape)
    middle = features.mean(axis=0)
    _, sizes, directions = np.linalg.svd(features - middle, full_matrices=False)
    reading = directions[:READ].T / sizes[:READ] * np.sqrt(len(features))  # D READ
    rng = np.random.default_rng((seed, 43))
    mixed = rng.normal(0, 1, (READ, shape[-1])) / np.sqrt(READ)
    kernel = (reading @ mixed).astype(np.float32)
    layer.kernel.assign(kernel.reshape(shape))
    layer.bias.assign(rng.normal(0, 0.1, shape[-1]) - middle @ kernel)


def find_still(outputs: Arrays, wanted: Mapping[str, float]) -> list[str]:
    """Outputs that vary less over the inputs than they should.

    Args:
        outputs: by name, the batch first.
        wanted: smallest deviation over the inputs as a share of the largest |value|, by name.

    Returns:
        A line for each of them.
    """
    lines = []
    for name, values in outputs.items():
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            lines.append(f"{name} is not finite")
            continue
        share = values.std(axis=0).mean() / max(float(np.abs(values).max()), 1e-30)
        if not share >= wanted[name]:
            lines.append(f"{name} varies by {share:.3f} of its scale, and {wanted[name]} is asked")
    return lines


def _draw_variables(layers: list[keras.layers.Layer], rng: np.random.Generator) -> None:
    seen: set[int] = set()
    for layer in layers:
        for variable in layer._trainable_variables:
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            value, shape = np.asarray(variable), tuple(variable.shape)
            name = variable.path.rsplit("/", 1)[-1]
            if name == "gamma":
                value = rng.uniform(0.6, 1.5, shape) * rng.choice([1, 1, 1, -1], shape)
            elif name in ("bias", "beta"):
                value = rng.normal(0, 0.3, shape) + value  # a forget gate's bias begins at one
            elif name == "alpha":  # of a PReLU
                value = rng.uniform(0.05, 0.4, shape)
            else:
                spread = 0.1 if np.ptp(value) < 1e-6 else value.std()  # LayerScale begins at 1e-6
                value = value + rng.normal(0, 0.3 * spread, shape)
            variable.assign(value.astype(np.float32))


@contextmanager
def _measuring(layers: list[keras.layers.Layer], rng: np.random.Generator) -> Iterator[None]:
    """Every layer settles its weights when it is first called; a shared one does so once."""
    hooked = []
    for layer in layers:
        settle = _settler(layer)
        if settle is not None:
            layer.__dict__["call"] = _first_settled(layer, layer.call, settle, rng)
            hooked.append(layer)
    try:
        yield
    finally:
        for layer in hooked:
            del layer.__dict__["call"]


def _settler(layer: keras.layers.Layer) -> Callable[..., None] | None:
    if isinstance(layer, keras.layers.BatchNormalization):
        return _settle_norm
    return None if _kernel(layer) is None else _settle_kernel


def _first_settled(
    layer: keras.layers.Layer, call: Callable, settle: Callable, rng: np.random.Generator
) -> Callable:
    waiting = True

    def measured(entering: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal waiting
        if waiting:
            waiting = False
            settle(layer, entering, call, rng)
        return call(entering, *arguments, **keywords)

    return measured


def _settle_kernel(
    layer: keras.layers.Layer, entering: Any, call: Callable, rng: np.random.Generator
) -> None:
    """Brings what the layer computes near zero mean and unit deviation."""
    activation, layer.activation = layer.activation, keras.activations.linear
    computed = _to_float(call(entering))
    layer.activation = activation
    kernel, bias = _kernel(layer), getattr(layer, "bias", None)
    flat = computed.reshape(-1, computed.shape[-1])
    middle = flat.mean(axis=0)
    gain = float(rng.uniform(0.9, 1.4)) / max(float((flat - middle).std()), 1e-6)
    kernel.assign(np.asarray(kernel) * gain)
    if bias is not None and tuple(bias.shape) == middle.shape:
        noise = rng.normal(0, 0.3, middle.shape)
        bias.assign((np.asarray(bias) - middle) * gain + noise)


def _settle_norm(
    layer: keras.layers.Layer, entering: Any, call: Callable, rng: np.random.Generator
) -> None:
    """Gives a batch norm the statistics of what enters it, a little off."""
    values = np.moveaxis(_to_float(entering), layer.axis, -1)
    flat = values.reshape(-1, values.shape[-1])
    spread = flat.std(axis=0) + 1e-2
    layer.moving_mean.assign(flat.mean(axis=0) + rng.normal(0, 0.2, spread.shape) * spread)
    layer.moving_variance.assign(spread**2 * rng.uniform(0.7, 1.4, spread.shape))


def _kernel(layer: keras.layers.Layer) -> keras.Variable | None:
    """What a layer multiplies with; None for one that has no such thing, or a recurrent cell."""
    if not hasattr(layer, "activation") or hasattr(layer, "recurrent_kernel"):
        return None
    kernels = (getattr(layer, name, None) for name in KERNELS)
    return next((kernel for kernel in kernels if isinstance(kernel, keras.Variable)), None)


def _to_float(values: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(values)).astype(np.float32)


def _set_units(layer: keras.layers.Layer, factor: np.ndarray, offset: np.ndarray) -> None:
    layer.kernel.assign(np.asarray(layer.kernel) * factor)
    layer.bias.assign(np.asarray(layer.bias) * factor + offset)
