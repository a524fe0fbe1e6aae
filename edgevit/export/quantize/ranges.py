"""Activation ranges: measured once on training images, kept as a document, used without images."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.core.errors import ConfigError, ExportError, ModelFileError
from edgevit.core.serialization import VERSION, to_json
from edgevit.runtimes.litert import open_interpreter
from edgevit.runtimes.tflite_file import is_constant, parse_model, tensor_name, tensor_type

if TYPE_CHECKING:
    from edgevit.export.source import ExportOptions, Source


@dataclass(frozen=True)
class RangeRecord:
    """Smallest and largest value of every activation, over a set of images.

    Attributes:
        ranges: (smallest, largest) by tensor name of the float TFLite graph, or by layer and
            side of the float ONNX graph.
        images: how many were seen.
        source: dataset they came from.
        images_sha256: digest of their pixels.
        weights_sha256: digest of the weights that produced the activations.
        graph: what was traced, so that a record is not used for another graph.
    """

    ranges: dict[str, tuple[float, float]]
    images: int
    source: str
    images_sha256: str
    weights_sha256: str
    graph: str

    @property
    def digest(self) -> str:
        """sha256 of the record's content, as hex."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a manifest says of the calibration."""
        return {
            "images": self.images,
            "source": self.source,
            "images_sha256": self.images_sha256,
            "record_sha256": self.digest,
            "method": "min-max",
        }

    def to_text(self) -> str:
        """The record as JSON, tensors sorted by name."""
        document = {
            "version": VERSION,
            "graph": self.graph,
            "images": self.images,
            "source": self.source,
            "images_sha256": self.images_sha256,
            "weights_sha256": self.weights_sha256,
            "ranges": {name: list(self.ranges[name]) for name in sorted(self.ranges)},
        }
        return to_json(document, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str, name: str) -> RangeRecord:
        """Reads :meth:`to_text`.

        Raises:
            ModelFileError: damaged, or a range that is no pair of finite numbers.
        """
        try:
            document = json.loads(text)
            ranges = {
                key: (float(low), float(high)) for key, (low, high) in document["ranges"].items()
            }
            record = cls(
                ranges=ranges,
                images=int(document["images"]),
                source=str(document["source"]),
                images_sha256=str(document["images_sha256"]),
                weights_sha256=str(document["weights_sha256"]),
                graph=str(document["graph"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"{name}: the calibration record is damaged ({error}).") from None
        for key, (low, high) in ranges.items():
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ModelFileError(f"{name}: the range of {key!r} is [{low}, {high}].")
        return record


def describe_graph(source: Source, options: ExportOptions) -> str:
    """What a calibration record is valid for: sizes, not weights."""
    inside = "raw images" if options.preprocess else "bare network"
    rows, columns = source.preprocess.network_size
    others = sorted(name for name in source.network.output if name != "logits")
    also = f", also {', '.join(others)}" if others else ""
    return f"{source.name} {rows}x{columns}, {inside}{also}"


def measure_ranges(
    graph: bytes, images: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> dict[str, tuple[float, float]]:
    """Runs a float TFLite graph and watches every activation.

    The result does not depend on the order of the images: it is a minimum and a maximum.

    Args:
        graph: float32 .tflite with a batch of one and float32 input.
        images: B H W 3 in the graph's own input type and range.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: no images.
        ExportError: an activation is not finite.
    """
    if len(images) == 0:
        raise ConfigError("calibration needs at least one image. Received: 0")
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="edgevit-") as folder:
        path = Path(folder) / "float.tflite"
        path.write_bytes(graph)
        interpreter = open_interpreter(path, "builtin", preserve_all=True)
        interpreter.allocate_tensors()
        (entry,) = interpreter.get_input_details()
        watched = dict(activation_names(graph))
        for number, image in enumerate(images):
            interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
            interpreter.invoke()
            for index, name in watched.items():
                value = interpreter.get_tensor(index)
                # Unlike min and max, these keep a NaN once there is one.
                low[name] = float(np.minimum(low.get(name, np.inf), value.min()))
                high[name] = float(np.maximum(high.get(name, -np.inf), value.max()))
            if progress:
                progress(number + 1, len(images))
    for name in low:
        if not np.isfinite([low[name], high[name]]).all():
            raise ExportError(
                f"the activation {name!r} is not finite on the calibration images, so the weights "
                "are damaged or the images are in another range than the network expects."
            )
    return {name: (low[name], high[name]) for name in low}


def activation_names(graph: bytes) -> list[tuple[int, str]]:
    """(index, name) of every float tensor that is computed, not stored."""
    model = parse_model(graph, "float graph")
    (subgraph,) = model.subgraphs
    return [
        (index, tensor_name(tensor))
        for index, tensor in enumerate(subgraph.tensors)
        if tensor_type(tensor) == "float32" and not is_constant(model, tensor)
    ]
