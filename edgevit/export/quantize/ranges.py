"""Activation ranges: measured once on training images, kept as a document, used without images."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.core.errors import ConfigError, ModelFileError
from edgevit.core.serialization import VERSION, to_json
from edgevit.core.targets import Format
from edgevit.export.quantize.clipping import DEFAULT_METHOD, METHODS, find_method
from edgevit.export.quantize.histogram import Histogram
from edgevit.export.quantize.observer import Observation, Observer
from edgevit.export.surgery import chosen_steps
from edgevit.runtimes.litert import open_interpreter
from edgevit.runtimes.tflite_file import is_constant, parse_model, tensor_name, tensor_type

if TYPE_CHECKING:
    from edgevit.export.source import ExportOptions, Source


@dataclass(frozen=True)
class RangeRecord:
    """Smallest and largest value to keep of every activation, from a set of images.

    Attributes:
        ranges: (smallest, largest) by tensor name of the float TFLite graph, which begins with
            the Keras layer's path, or by layer and side of the float ONNX graph.
        images: how many were seen.
        source: dataset they came from.
        images_sha256: digest of their pixels.
        weights_sha256: digest of the weights that produced the activations.
        graph: what was traced, so that a record is not used for another graph.
        method: how the ranges were chosen, a key of METHODS.
        seen: smallest and largest value of the tensors whose range is narrower than that.
        histograms: of the tensors that may be clipped; empty where only extremes were watched.
        means: of each channel of what enters layers with weights, where a step asked for them.
    """

    ranges: dict[str, tuple[float, float]]
    images: int
    source: str
    images_sha256: str
    weights_sha256: str
    graph: str
    method: str = DEFAULT_METHOD
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict, repr=False)
    means: dict[str, tuple[float, ...]] = field(default_factory=dict, repr=False)

    def clipped(self, method: str) -> RangeRecord:
        """The record with ranges that another method chooses, from the same histograms.

        Raises:
            ConfigError: it has no histograms.
            UnknownNameError: no such method.
        """
        choose = find_method(method)
        if method == self.method:
            return self
        if not self.histograms and method != DEFAULT_METHOD:
            raise ConfigError(
                f"the calibration record has no histograms, so {method!r} has nothing to choose "
                "from. Record them with 'edgevit calibrate'."
            )
        whole = {**self.ranges, **self.seen}
        ranges = dict(whole)
        for name, histogram in self.histograms.items():
            ranges[name] = choose(histogram, whole[name])
        seen = {name: whole[name] for name in whole if ranges[name] != whole[name]}
        return replace(self, ranges=ranges, method=method, seen=seen)

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
            "method": self.method,
        }

    def to_text(self) -> str:
        """The record as JSON, tensors sorted by name."""
        return to_json(self.to_document(), indent=1) + "\n"

    def to_document(self) -> dict[str, Any]:
        """The record as JSON values, tensors sorted by name."""
        document = {
            "version": VERSION,
            "graph": self.graph,
            "images": self.images,
            "source": self.source,
            "images_sha256": self.images_sha256,
            "weights_sha256": self.weights_sha256,
            "method": self.method,
            "ranges": {name: list(self.ranges[name]) for name in sorted(self.ranges)},
        }
        if self.seen:
            document["seen"] = {name: list(self.seen[name]) for name in sorted(self.seen)}
        if self.histograms:
            names = sorted(self.histograms)
            document["histograms"] = {name: self.histograms[name].to_plain() for name in names}
        if self.means:
            document["means"] = {name: list(self.means[name]) for name in sorted(self.means)}
        return document

    @classmethod
    def from_text(cls, text: str, name: str) -> RangeRecord:
        """Reads :meth:`to_text`.

        Raises:
            ModelFileError: damaged, or a range that is no pair of finite numbers.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ModelFileError(f"{name}: the calibration record is damaged ({error}).") from None
        return cls.from_document(document, name)

    @classmethod
    def from_document(cls, document: Any, name: str) -> RangeRecord:
        """Reads :meth:`to_document`.

        Raises:
            ModelFileError: damaged, or a range that is no pair of finite numbers.
        """
        try:
            pairs = {
                part: {key: (float(low), float(high)) for key, (low, high) in found.items()}
                for part, found in (
                    ("ranges", document["ranges"]),
                    ("seen", document.get("seen", {})),
                )
            }
            method = str(document.get("method", DEFAULT_METHOD))
            if method not in METHODS:
                raise ValueError(f"unknown method {method!r}")
            record = cls(
                ranges=pairs["ranges"],
                images=int(document["images"]),
                source=str(document["source"]),
                images_sha256=str(document["images_sha256"]),
                weights_sha256=str(document["weights_sha256"]),
                graph=str(document["graph"]),
                method=method,
                seen=pairs["seen"],
                histograms={
                    key: Histogram.from_plain(value)
                    for key, value in document.get("histograms", {}).items()
                },
                means={
                    key: tuple(map(float, values))
                    for key, values in document.get("means", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"{name}: the calibration record is damaged ({error}).") from None
        for part in pairs.values():
            for key, (low, high) in part.items():
                if not (np.isfinite([low, high]).all() and low <= high):
                    raise ModelFileError(f"{name}: the range of {key!r} is [{low}, {high}].")
        for key, values in record.means.items():
            if not np.isfinite(values).all():
                raise ModelFileError(f"{name}: the means of {key!r} are not finite.")
        strangers = {*record.seen, *record.histograms, *record.means} - record.ranges.keys()
        if strangers:
            raise ModelFileError(
                f"{name}: the calibration record is damaged ({min(strangers)!r} has no range)."
            )
        return record


def describe_graph(source: Source, options: ExportOptions, kind: Format = Format.TFLITE) -> str:
    """What a calibration record is valid for: sizes and surgery, not weights."""
    inside = "raw images" if options.preprocess else "bare network"
    rows, columns = source.preprocess.network_size
    others = sorted(name for name in source.network.output if name != "logits")
    parts = [f"{source.name} {rows}x{columns}", inside]
    parts += [f"also {', '.join(others)}"] if others else []
    if kind is Format.TFLITE:
        parts.append(" ".join(chosen_steps(options)) or "no surgery")
    return ", ".join(parts)


def measure_ranges(
    graph: bytes, images: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every activation; see :func:`observe_activations`."""
    found = observe_activations(graph, images, Observer(), progress)
    return {name: (value.low, value.high) for name, value in found.items()}


def observe_activations(
    graph: bytes,
    images: np.ndarray,
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """Runs a float TFLite graph and watches every activation.

    The result does not depend on the order of the images.

    Args:
        graph: float32 .tflite with a batch of one and float32 input.
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
        path.write_bytes(graph)
        interpreter = open_interpreter(path, "builtin", preserve_all=True)
        interpreter.allocate_tensors()
        (entry,) = interpreter.get_input_details()
        watched = dict(activation_names(graph))
        for number, image in enumerate(images):
            interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
            interpreter.invoke()
            for index, name in watched.items():
                observer.see(name, interpreter.get_tensor(index))
            if progress:
                progress(number + 1, len(images))
    return observer.observations()


def activation_names(graph: bytes) -> list[tuple[int, str]]:
    """(index, name) of every float tensor that is computed, not stored."""
    model = parse_model(graph, "float graph")
    (subgraph,) = model.subgraphs
    return [
        (index, tensor_name(tensor))
        for index, tensor in enumerate(subgraph.tensors)
        if tensor_type(tensor) == "float32" and not is_constant(model, tensor)
    ]
