"""What every activation of a float TFLite graph takes while it runs on images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.workspace import open_workspace
from edgevit.formats.tflite.runtime.litert import border_names, open_interpreter
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.quantization.observer import Observation, Observer


def observe_activations(
    graph: TfliteGraph,
    inputs: Mapping[str, np.ndarray],
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """Runs a float TFLite graph and watches every activation.

    The result does not depend on the order of the samples.

    Args:
        graph: float32 with a batch of one and float32 pictures.
        inputs: B ... by name, in the graph's own range.
        observer: what remembers.
        progress: called with (samples done, samples in all).

    Raises:
        ConfigError: no samples.
        ExportError: an activation is not finite.
    """
    watch_activations(graph, dict(graph.activations()), inputs, observer.see, progress)
    return observer.observations()


def watch_activations(
    graph: TfliteGraph,
    watched: Mapping[int, str],
    inputs: Mapping[str, np.ndarray],
    see: Callable[[str, np.ndarray], None],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Runs a float TFLite graph, sample after sample, and hands tensors on.

    Args:
        graph: float32 with float32 pictures; a sample fills its batch.
        watched: names of the tensors to hand on, by index.
        inputs: B ... by name, in the graph's own range.
        see: called with the name of a tensor and its value on one sample.
        progress: called with (samples done, samples in all).

    Raises:
        ConfigError: no samples.
    """
    count = min((len(values) for values in inputs.values()), default=0)
    if count == 0:
        raise ConfigError("calibration needs at least one image. Received: 0")
    with open_workspace() as folder:
        path = folder / "float.tflite"
        path.write_bytes(_hand_out(graph, watched))
        interpreter = open_interpreter(path)
        interpreter.allocate_tensors()
        names = border_names(interpreter)
        entries = [(detail, names[detail["index"]]) for detail in interpreter.get_input_details()]
        batch = int(entries[0][0]["shape"][0])
        for number in range(count):
            for detail, name in entries:
                sample = inputs[name][number : number + 1].astype(detail["dtype"])
                interpreter.set_tensor(detail["index"], np.repeat(sample, batch, axis=0))
            interpreter.invoke()
            for index, name in watched.items():
                see(name, interpreter.get_tensor(index))
            if progress:
                progress(number + 1, count)


def _hand_out(graph: TfliteGraph, watched: Mapping[int, str]) -> bytes:
    """The file of a graph whose watched tensors are outputs too.

    XNNPACK keeps what is no output to itself, and is several times as fast as kernels that do not.
    """
    subgraph = graph.graph
    own = subgraph.outputs
    subgraph.outputs = [*own, *(index for index in watched if index not in own)]
    try:
        return graph.to_bytes()
    finally:
        subgraph.outputs = own
