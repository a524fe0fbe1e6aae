"""What rounding should do to a layer's output, predicted from the file's scales and what enters.

A value that is rounded to levels ``s`` apart is off by up to ``s / 2``, evenly: ``s**2 / 12`` in
the mean square (Bennett 1948, "Spectra of quantized signals"). Weights are rounded once for all
images: in ``sum_k d_k x_k`` the ``d_k`` stay and the ``x_k`` vary, so the error is a pattern of the
kind that faults leave. Its size follows from the scales and from what enters, never from the
weights themselves: that is where a fault sits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgevit.formats.intermediate import IntermediateTensor, Product, Rounding
from edgevit.formats.tflite.operators import OPERATORS, Role, names_of

ROWS = 256  # of what enters that are kept, of each run
LEVELS = 255  # steps between the smallest and the largest value that 8 bits tell apart
RARE = 0.05  # share of values beyond a tensor's levels that calibration may have left there
FEW = 4  # values that are no more than chance, however few there are
ROUNDS = 20  # of the power iteration: a tenth of the value is accuracy enough
# What these compute is used for many values at once: how it is rounded shows in all of them.
SHARED = (
    *(name for name, spec in OPERATORS.items() if spec.shared),
    *("ReduceMean", "Softmax", "MatMul"),
)
# Weights of a mean: what rounding does to them averages out over what they weigh.
AVERAGED = ("SOFTMAX", "Softmax")
# These only move values, or compute in float (those of ONNX): what they return was rounded before.
MOVES = (
    *names_of(Role.MOVES, Role.JOINS, Role.CONVERTS),
    *("Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Pad", "Gather", "Concat"),
    *("Mul", "Add", "Relu", "Clip"),
)


@dataclass
class ProductNoise:
    """Samples of what enters one product, and what rounding does to them.

    Attributes:
        product: of the file.
        rows: parts of R K values that enter.
        errors: of rounding them on the way in, likewise.
        ended: likewise, with nothing beyond the levels.
        beyond: values beyond the levels.
    """

    product: Product
    rows: list[np.ndarray] = field(default_factory=list)
    errors: list[np.ndarray] = field(default_factory=list)
    ended: list[np.ndarray] = field(default_factory=list)
    beyond: int = 0

    def add(self, values: np.ndarray, shape: Sequence[int]) -> None:
        """Adds B and the elements of an image, of a tensor that has this shape in the file."""
        product, rows = self.product, values.astype(np.float64)
        if product.channels == 1 and len(shape) > 2:
            rows = np.moveaxis(rows.reshape(-1, *shape[1:]), 1, -1)
        rows = rows.reshape(-1, product.inputs) * product.factors + product.offsets  # R K
        places = np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)
        kept = rows[places]
        self.rows.append(kept)
        if product.rounding is Rounding.NONE:
            return
        if product.rounding is Rounding.STORED:
            step = np.full((1, 1), product.step)
        elif product.rounding is Rounding.ROW:
            step = 2 * np.abs(kept).max(axis=1, keepdims=True) / LEVELS
        else:
            span = np.maximum(values.max(axis=1), 0) - np.minimum(values.min(axis=1), 0)
            step = np.repeat(span / LEVELS, len(rows) // len(values))[places, None]
        step = np.maximum(step, 1e-30)
        levels = np.rint(kept / step) * step
        ended = np.clip(levels, product.low, product.high)
        self.beyond += int(np.sum(np.abs(ended - levels) > step / 2))
        self.errors.append(levels - kept)
        self.ended.append(ended - kept)

    @property
    def of_weights(self) -> np.ndarray:
        """Mean square that rounded weights put on each output channel, all of it a pattern."""
        product = self.product
        if not product.steps.any() or not self.rows:
            return np.zeros(len(product.steps))
        rows = np.concatenate(self.rows)  # R K
        mean = rows.mean(axis=0)
        if product.depthwise:
            gain = np.repeat(np.square(rows).mean(axis=0), len(product.steps) // product.inputs)
        else:
            gain = np.square(mean).sum() + _largest_variance(rows - mean)
        return product.steps**2 / 12 * product.window * gain

    @property
    def of_input(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean square that rounding what enters puts on each channel: (in all, as a pattern)."""
        weights = self.product.weights.astype(np.float64)  # N ...
        if not self.errors:
            return np.zeros(len(weights)), np.zeros(len(weights))
        power = np.square(weights).sum(axis=1)
        rows = np.concatenate(self.rows)
        rare = self.beyond <= max(FEW, RARE * rows.size)
        errors = np.concatenate(self.ended if rare else self.errors)  # R K
        whole = power * np.square(errors).mean()
        if weights.shape[1] == rows.shape[1]:
            matrix = weights.T.astype(np.float32)  # half the time; it is an estimate
            return whole, _on_a_line(*(x.astype(np.float32) @ matrix for x in (rows, errors)))
        return whole, power * _on_a_line(rows, errors).mean()


@dataclass
class InsideNoise:
    """How coarse the integer tensors inside a layer are, before its output.

    Attributes:
        squares: mean square of each tensor's values, summed over chunks of images, by name.
        noises: mean square of what rounding to its levels does.
        chunks: of images.
        shared: whether one of them is used for many values at once.
    """

    squares: dict[str, float] = field(default_factory=dict)
    noises: dict[str, float] = field(default_factory=dict)
    chunks: int = 0
    shared: bool = False

    def add(self, tensors: Sequence[IntermediateTensor], found: Mapping[str, np.ndarray]) -> None:
        """Adds the values of the layer's tensors for one chunk."""
        for tensor in tensors:
            self.shared |= tensor.op in SHARED
            if tensor.op in AVERAGED:
                continue
            square = float(np.square(found[tensor.name], dtype=np.float64).mean())
            self.squares[tensor.name] = self.squares.get(tensor.name, 0.0) + square
            if tensor.levels is not None:
                self.noises[tensor.name] = float(np.square(tensor.levels.step).mean()) / 12
        self.chunks += 1

    @property
    def relative(self) -> float:
        """Mean square that rounding inside leaves as a pattern, relative to that of the output."""
        if not self.shared:
            return 0.0
        found = 0.0
        for name, square in self.squares.items():
            noise = self.noises.get(name, 0.0)
            found += noise / max(square / self.chunks, noise)
        return min(1.0, found)


def _on_a_line(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Mean square of what a line over R C values says of their errors, by channel."""
    spread = values - values.mean(axis=0)
    variance = np.square(spread).mean(axis=0)
    slope = (errors * spread).mean(axis=0) / np.maximum(variance, 1e-30)
    return np.square(errors.mean(axis=0)) + slope**2 * variance


def _largest_variance(rows: np.ndarray) -> float:
    """The largest variance of centred R K values along any direction.

    A sum of small errors of the weights has at most so much in common with a channel's own values.
    """
    direction = rows[np.argmax(np.square(rows).sum(axis=1))]
    for _ in range(ROUNDS):
        size = np.linalg.norm(direction)
        if size == 0:
            return 0.0
        direction = rows.T @ (rows @ (direction / size)) / len(rows)
    return float(np.linalg.norm(direction))
