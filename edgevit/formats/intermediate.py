"""Intermediate tensors of an exported file, by Keras layer, and what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from edgevit.core.manifest import Manifest
from edgevit.core.samples import Inputs


@dataclass(frozen=True, eq=False)
class Levels:
    """The values that a rounded tensor can have: one grid, or one for each channel.

    Attributes:
        step: between two levels, in the unit of the values; C, or one.
        low: value of the lowest level, likewise.
        high: value of the highest.
    """

    step: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of_integers(cls, kind: np.dtype, scale: Any, zero: Any) -> Levels:
        """Of integers of a type that stand for ``scale * (integer - zero)``."""
        scales, zeros = np.array(scale, float, ndmin=1), np.array(zero, float, ndmin=1)  # C
        limits = np.iinfo(kind)
        return cls(scales, (limits.min - zeros) * scales, (limits.max - zeros) * scales)

    def scale(self, factor: Any) -> Levels:
        """Of the values times C factors, or one."""
        ends = np.sort([self.low * factor, self.high * factor], axis=0)  # 2 C
        return Levels(np.abs(self.step * factor), *ends)

    def shift(self, offset: Any) -> Levels:
        """Of the values plus C offsets, or one."""
        return Levels(self.step, self.low + offset, self.high + offset)

    def limit(self, low: float, high: float) -> Levels:
        """Of what an activation that cuts at two values lets through."""
        return Levels(self.step, np.clip(self.low, low, high), np.clip(self.high, low, high))

    def match(self, channels: int) -> Levels:
        """For this many channels: where they are others, one grid that covers every one."""
        if self.step.size in (1, channels):
            return self
        ends = self.low.min(keepdims=True), self.high.max(keepdims=True)
        return Levels(self.step.max(keepdims=True), *ends)


@dataclass(frozen=True)
class IntermediateTensor:
    """One tensor that an operator of the file computes.

    Attributes:
        name: in the file.
        layer: path of the Keras layer, as the file's names tell it; empty where they do not.
        op: operator that computes it.
        position: of this operator in the file.
        shape: of one run, sizes as they are when it runs; empty where it is not known before.
        levels: that its values were rounded to; None for floats.
        bare: layer of the normalisation whose values it holds without their scale and offset,
            which may have been moved into the weights that follow; empty for anything else.
        depthwise: whether a convolution computes it whose channels each see one channel only.
    """

    name: str
    layer: str
    op: str
    position: int
    shape: tuple[int, ...]
    levels: Levels | None = None
    bare: str = ""
    depthwise: bool = False


class Rounding(StrEnum):
    """How an operator makes integers of float values that enter it."""

    NONE = "none"  # it takes what is there
    STORED = "stored"  # with a step that the file holds
    ROW = "row"  # with a step for each row, so that its largest value fits
    RUN = "run"  # with a step for each run, so that its range fits


@dataclass(frozen=True)
class Product:
    """An operator that multiplies by stored weights: what rounding does to its sums.

    Attributes:
        layer: path of the Keras layer, as the file's names tell it.
        entering: name of the tensor that it multiplies, which can be read.
        steps: between two levels of the weights, for each output channel; zeros for floats.
        weights: as they count, output channels first: N ...
        inputs: numbers that enter at one position: a row of a Dense layer, the channels of a Conv.
        window: positions that a kernel sees; 1 for a Dense layer.
        depthwise: whether each output channel sees one input channel only.
        channels: axis of the channels in what enters: 1 or the last.
        rounding: what happens to floats that enter.
        step: of this rounding, where it is stored.
        low: value of its lowest level, where that is stored.
        high: value of its highest.
        factors: what each channel that enters is multiplied by before, where it has levels of its
            own: then steps, weights, low and high are about the product. C, or one.
        offsets: what is added then.
    """

    layer: str
    entering: str
    steps: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    inputs: int
    window: int = 1
    depthwise: bool = False
    channels: int = -1
    rounding: Rounding = Rounding.NONE
    step: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    factors: np.ndarray = field(default_factory=lambda: np.ones(1), repr=False)
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(1), repr=False)


class IntermediateReader(Protocol):
    """A file that is run for its intermediate tensors. A context manager.

    Attributes:
        path: the file.
        runtime: name of runtime and kernel set.
        metadata: text documents that travel inside the file, by key.
        tensors: what can be read, in the order in which it is computed.
        products: the operators that multiply by stored weights.
        batch: images of one run.
    """

    path: Path
    runtime: str
    metadata: dict[str, str]
    tensors: tuple[IntermediateTensor, ...]
    products: tuple[Product, ...]
    batch: int

    @property
    def manifest(self) -> Manifest | None:
        """See :attr:`edgevit.core.metadata.EmbeddedMetadata.manifest`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def select(self, names: Sequence[str]) -> None:
        """Chooses the tensors that :meth:`run` returns.

        Raises:
            RuntimeFailure: the runtime refuses to give them out.
        """
        ...

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs samples; see :meth:`edgevit.formats.session.Session.run`.

        Returns:
            The selected tensors by name: float32 B and the elements of one image, dequantised.
        """
        ...
