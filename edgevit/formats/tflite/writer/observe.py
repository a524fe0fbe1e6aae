"""What every activation of a float TFLite graph takes while it runs on images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.formats.tflite.runtime.litert import open_interpreter
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.quantization.observer import Observation, Observer


def measure_ranges(
    graph: TfliteGraph, images: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every activation; see :func:`observe_activations`."""
    found = observe_activations(graph, images, Observer(), progress)
    return {name: (value.low, value.high) for name, value in found.items()}


def observe_activations(
    graph: TfliteGraph,
    images: np.ndarray,
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """Runs a float TFLite graph and watches every activation.

    The result does not depend on the order of the images.

    Args:
        graph: float32 with a batch of one and float32 input.
        images: B H W 3 in the graph's own input type and range.
        observer: what remembers.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: no images.
        ExportError: an activation is not finite.
    """
    if len(images) == 0:
        raise ConfigError("calibration needs at least one image. Received: 0")
    with tempfile.TemporaryDirectory(prefix="edgevit-") as folder:
        path = Path(folder) / "float.tflite"
        path.write_bytes(graph.to_bytes())
        interpreter = open_interpreter(path, "builtin", preserve_all=True)
        interpreter.allocate_tensors()
        (entry,) = interpreter.get_input_details()
        watched = dict(graph.activations())
        for number, image in enumerate(images):
            interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
            interpreter.invoke()
            for index, name in watched.items():
                observer.see(name, interpreter.get_tensor(index))
            if progress:
                progress(number + 1, len(images))
    return observer.observations()
