"""What enters and leaves the weighted layers of a float ONNX graph, over the calibration images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgevit.base.errors import ConfigError, ExportError
from edgevit.formats.onnx.runtime.onnxruntime import load_model, spec_of
from edgevit.formats.onnx.writer.quantize.layers import (
    WeightedLayer,
    find_layers,
    layers_before_weights,
)
from edgevit.quantization.observer import ChannelRanges, Observation, Observer


def observe(
    model: ir.Model,
    inputs: Mapping[str, np.ndarray],
    extremes: Mapping[str, np.ndarray],
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """Runs a float graph in onnxruntime and watches its weighted layers.

    The result does not depend on the order of the samples.

    Args:
        model: in float32, with a batch of one.
        inputs: B ... by name, in the graph's own input types and range.
        extremes: likewise, the darkest and the brightest picture that there can be: what enters
            the first layers has the range that these give it, whatever the sample holds, and is
            not clipped. Empty where nothing takes pictures.
        observer: what remembers.
        progress: called with (samples done, samples in all).

    Returns:
        What was seen of ``<layer>/in``, ``<layer>/weights`` and, for a convolution, ``<layer>/out``
        or ``<layer>/activated``.

    Raises:
        ConfigError: no samples.
        ExportError: an activation is not finite.
    """
    count = min((len(values) for values in inputs.values()), default=0)
    if count == 0:
        raise ConfigError("calibration needs at least one image. Received: 0")
    layers, _ = find_layers(model)
    watched = {f"{layer.key}/in": layer.node.inputs[0] for layer in layers}
    watched |= {layer.result_key: layer.result for layer in layers if layer.is_conv}
    names = {key: value.name or "" for key, value in watched.items() if value is not None}
    keys: dict[str, str] = {}  # name of a tensor -> the first key that it has
    for key, name in names.items():
        keys.setdefault(name, key)
    images = _images(layers)
    observer.divided = frozenset(keys[name] for name in images)
    run = _runner(model, sorted(keys))
    for number in range(count):
        for tensor, value in run(_one_of(inputs, number)).items():
            observer.see(keys[tensor], np.moveaxis(value, 1, -1) if tensor in images else value)
        if progress:
            progress(number + 1, count)
    seen = observer.observations()
    first = {names[f"{layer.key}/in"] for layer in layers_before_weights(model, layers)}
    for number in range(min((len(values) for values in extremes.values()), default=0)):
        for tensor, value in run(_one_of(extremes, number)).items():
            if tensor in first:
                known = seen[keys[tensor]]
                low, high = min(known.low, float(value.min())), max(known.high, float(value.max()))
                seen[keys[tensor]] = Observation(low, high, channels=_widen(known, low, high))
    found = {}
    for layer in layers:
        for side in (f"{layer.key}/in", layer.result_key):
            if side in names:
                found[side] = seen[keys[names[side]]]
        weights = float(layer.weights.min()), float(layer.weights.max())
        if not np.isfinite(weights).all():
            raise ExportError(f"the weights of {layer.key!r} are not finite: they are damaged.")
        found[f"{layer.key}/weights"] = Observation(*weights)
    return found


def _widen(known: Observation, low: float, high: float) -> ChannelRanges | None:
    """Ranges of channels that may all take whatever one of them takes."""
    found = known.channels
    if found is None:
        return None
    lows, highs = np.full_like(found.lows, low), np.full_like(found.highs, high)
    return ChannelRanges(lows, highs, found.means, found.squares)


def _images(layers: list[WeightedLayer]) -> set[str]:
    """Names of tensors that convolutions and no Gemm reads or writes: channels are axis 1."""
    entering = {layer.node.inputs[0] for layer in layers if layer.is_conv}
    rows = {layer.node.inputs[0] for layer in layers if not layer.is_conv}
    leaving = {layer.result for layer in layers if layer.is_conv}
    return {value.name or "" for value in (entering | leaving) - rows if value is not None}


def _one_of(inputs: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    return {name: values[number : number + 1] for name, values in inputs.items()}


def _runner(
    model: ir.Model, names: list[str]
) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """A function that runs a batch of one and returns the values of inner tensors by name."""
    opened = model.clone()
    inputs = {value.name for value in opened.graph.inputs}
    for value in [value for node in opened.graph for value in node.outputs]:
        if value.name in names and not value.is_graph_output():
            value.type = ir.TensorType(ir.DataType.FLOAT)
            opened.graph.outputs.append(value)
    content = ir.to_proto(opened).SerializeToString()
    session = load_model(Path(f"{model.graph.name}.onnx"), content)
    kinds = {spec.name: spec.dtype for spec in map(spec_of, session.get_inputs())}
    computed = [name for name in names if name not in inputs]

    def run(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {name: batch[name].astype(kind) for name, kind in kinds.items()}
        values = dict(zip(computed, session.run(computed, feed), strict=True))
        return {name: values[name] if name in values else feed[name] for name in names}

    return run
