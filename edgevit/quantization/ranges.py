"""Activation ranges: measured once on training images, stored, used without images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgevit.base.documents import VERSION, parse_json, read_document, to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.quantization.clipping import DEFAULT_METHOD, METHODS, find_method
from edgevit.quantization.histogram import Histogram, unpack_counts
from edgevit.quantization.observer import ChannelRanges

NOUN = "the calibration record"  # what errors call it


@dataclass(frozen=True)
class RangeRecord:
    """Smallest and largest value to keep of every activation, from a set of images.

    Attributes:
        ranges: (smallest, largest) by tensor name of the float TFLite graph, which begins with
            the Keras layer's path, or by layer and side of the float ONNX graph.
        images: how many were run.
        source: dataset they came from.
        images_sha256: digest of their pixels.
        weights_sha256: digest of the weights that produced the activations.
        graph: what was traced, so that a record is not used for another graph.
        method: how the ranges were chosen, a key of METHODS.
        seen: smallest and largest value of the tensors whose range is narrower than that.
        histograms: of the tensors that may be clipped; empty where only extremes were watched.
        means: of each channel of what enters layers with weights, where a step asked for them.
        channels: ChannelRanges, packed, of what enters and leaves convolutions, for quantisers that
            give each channel levels of its own.
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
    channels: dict[str, str] = field(default_factory=dict, repr=False)

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
        """The calibration as a manifest names it."""
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
            document["histograms"] = {
                name: {
                    "exponent": counted.exponent,
                    "first": counted.first,
                    "counts": counted.packed,
                }
                for name, counted in sorted(self.histograms.items())
            }
        if self.means:
            document["means"] = {name: list(self.means[name]) for name in sorted(self.means)}
        if self.channels:
            document["channels"] = dict(sorted(self.channels.items()))
        return document

    @classmethod
    def from_text(cls, text: str, name: str) -> RangeRecord:
        """Reads :meth:`to_text`.

        Raises:
            ModelFileError: damaged, or a range that is no pair of finite numbers.
        """
        return cls.from_document(parse_json(text, name, NOUN), name)

    @classmethod
    def from_document(cls, document: Any, name: str) -> RangeRecord:
        """Reads :meth:`to_document`.

        Raises:
            ModelFileError: damaged, or a range that is no pair of finite numbers.
        """
        record = read_document(cls, document, name, NOUN, unpack_counts)
        for key, histogram in record.histograms.items():  # packing takes longer than all the rest
            vars(histogram)["packed"] = document["histograms"][key]["counts"]
        if record.method not in METHODS:
            raise ModelFileError(f"{name}: {NOUN} is damaged (unknown `method` {record.method!r}).")
        for key, (low, high) in [*record.ranges.items(), *record.seen.items()]:
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ModelFileError(f"{name}: the range of {key!r} is [{low}, {high}].")
        for key, values in record.means.items():
            if not np.isfinite(values).all():
                raise ModelFileError(f"{name}: the means of {key!r} are not finite.")
        for key, text in record.channels.items():
            try:
                ChannelRanges.from_text(text)
            except ValueError as error:
                raise ModelFileError(f"{name}: the channels of {key!r}: {error}.") from None
        known = {*record.seen, *record.histograms, *record.means, *record.channels}
        strangers = known - record.ranges.keys()
        if strangers:
            raise ModelFileError(f"{name}: {NOUN} is damaged ({min(strangers)!r} has no range).")
        return record
