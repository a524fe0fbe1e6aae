"""What enters and leaves the weighted layers of a float ONNX graph, over the calibration images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgevit.core.errors import ConfigError, ExportError
from edgevit.export.quantize.onnx_layers import ancestors_without_weights, find_layers


def measure(
    model: Any,
    images: np.ndarray,
    extremes: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[float, float]]:
    """Runs a float graph in onnxruntime and watches its weighted layers.

    The result does not depend on the order of the images: it is a minimum and a maximum.

    Args:
        model: float32 ModelProto with a batch of one.
        images: B H W 3 in the graph's own input type and range.
        extremes: B H W 3, the darkest and the brightest image that there can be: they count for
            what enters the first layers, whatever the sample holds.
        progress: called with (images done, images in all).

    Returns:
        (smallest, largest) by ``<layer>/in``, ``<layer>/out`` (Conv only) and ``<layer>/weights``.

    Raises:
        ConfigError: no images.
        ExportError: an activation is not finite.
    """
    if len(images) == 0:
        raise ConfigError("calibration needs at least one image. Received: 0")
    layers, _ = find_layers(model)
    watched = {layer.node.input[0] for layer in layers}
    watched |= {layer.node.output[0] for layer in layers if layer.is_conv}
    first = {layer.node.input[0] for layer in ancestors_without_weights(model, layers)}
    run = _runner(model, sorted(watched))
    seen: dict[str, tuple[float, float]] = {}
    for image in extremes:
        _widen(seen, {name: v for name, v in run(image[None]).items() if name in first})
    for number, image in enumerate(images):
        _widen(seen, run(image[None]))
        if progress:
            progress(number + 1, len(images))
    ranges = {}
    for layer in layers:
        ranges[f"{layer.key}/in"] = seen[layer.node.input[0]]
        if layer.is_conv:
            ranges[f"{layer.key}/out"] = seen[layer.node.output[0]]
        ranges[f"{layer.key}/weights"] = float(layer.weights.min()), float(layer.weights.max())
    for key, pair in ranges.items():
        if not np.isfinite(pair).all():
            raise ExportError(
                f"{key!r} is not finite on the calibration images, so the weights are damaged or "
                "the images are in another range than the network expects."
            )
    return ranges


def _widen(seen: dict[str, tuple[float, float]], values: dict[str, np.ndarray]) -> None:
    for name, value in values.items():
        low, high = seen.get(name, (np.inf, -np.inf))
        # Unlike min and max, these keep a NaN once there is one.
        seen[name] = float(np.minimum(low, value.min())), float(np.maximum(high, value.max()))


def _runner(model: Any, names: list[str]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function that runs a batch of one and returns the values of inner tensors by name."""
    import onnxruntime
    from onnx import ModelProto, TensorProto, helper

    open_model = ModelProto()
    open_model.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    for name in names:
        if name not in inputs | outputs:
            open_model.graph.output.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        open_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (entry,) = session.get_inputs()
    computed = [name for name in names if name not in inputs]
    kind = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[entry.type]

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        batch = batch.astype(kind)
        values = dict(zip(computed, session.run(computed, {entry.name: batch}), strict=True))
        return {name: values.get(name, batch) for name in names}

    return run
