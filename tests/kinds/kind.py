"""What a kind of model is: how it is built, what enters it, and what is expected of its outputs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

Arrays = dict[str, np.ndarray]
# How many and which seed -> arrays.
Draw = Callable[[int, int], np.ndarray]

# What opening a model multiplies raw pixels with, and adds. Written out here on purpose: what
# judges the exporter does not ask it.
PIXELS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "raw": ((1.0,), (0.0,)),
    "unit": ((1 / 255,), (0.0,)),
    "signed": ((1 / 127.5,), (-1.0,)),
    "imagenet": (
        tuple(1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225)),
        tuple(
            -mean / deviation
            for mean, deviation in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
        ),
    ),
    "caffe": ((1.0,) * 3, (-123.68, -116.779, -103.939)),  # then B, G, R
}
_SEEDS = 1000  # apart, so that each input has a seed of its own


@dataclass(frozen=True)
class Out:
    """What is expected of one output.

    Attributes:
        role: of edgevit.core.signature.Role, as text.
        variation: smallest deviation over the inputs, as a share of the output's scale.
    """

    role: str
    variation: float = 0.1


@dataclass(frozen=True)
class Kind:
    """One kind of vision model.

    Attributes:
        name: in tables and on the command line.
        about: a phrase for a reader.
        build: makes the model, with fresh weights.
        inputs: how raw inputs are drawn, by name, in the model's order.
        outputs: what is expected of each output, by name, in the model's order.
        task: of edgevit.tasks, as the signature tells without help.
        scaling: how its pictures want their pixels; None where it has none.
        opening: further keyword arguments of an export, such as input_shape.
        spelt: names of outputs as files spell them, where that is not as the model does.
        units: factor and offset of the last weights of a layer, by the layer's name: what a
            trained model would have learnt of the units of its labels.
        head: name of a last Dense layer that reads what varies most, as a trained one does; a drawn
            one reads noise behind a deep network.
        labels: (count, seed of the first input) -> what is true of the drawn inputs, by name of
            the output; None: there is no such task.
        settled_on: by how many inputs its weights are made lively. Deep networks need many: what
            hardly varies over few is blown up, and rules the outputs of others.
        deep: whether it has residual branches in many layers, which training weakens.
        calibrated_on: how many raw samples an export is given for its ranges.
        package: that brings its layers, where an extra of edgevit brings that; its name to import.
    """

    name: str
    about: str
    build: Callable[[], keras.Model]
    inputs: Mapping[str, Draw]
    outputs: Mapping[str, Out]
    task: str
    scaling: str | None = "unit"
    opening: Mapping[str, Any] = field(default_factory=dict)
    spelt: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    labels: Callable[[int, int], Arrays] | None = None
    head: str | None = None
    settled_on: int = 48
    calibrated_on: int = 60
    deep: bool = False
    package: str | None = None

    def draw(self, count: int, seed: int) -> Arrays:
        """Raw inputs by name; uint8 pictures, float32 vectors and signals, int32 indices."""
        return {
            name: draw(count, _SEEDS * seed + place)
            for place, (name, draw) in enumerate(self.inputs.items())
        }

    def label(self, count: int, seed: int) -> Arrays:
        """What is true of the inputs that :meth:`draw` draws, by name of the output."""
        assert self.labels is not None
        return self.labels(count, _SEEDS * seed)

    @property
    def missing(self) -> bool:
        """Whether the package that brings it is not installed."""
        return self.package is not None and importlib.util.find_spec(self.package) is None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of an export, without the calibration."""
        scaling = {} if self.scaling is None else {"scaling": self.scaling}
        return {**scaling, **self.opening}
