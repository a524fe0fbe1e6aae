"""What rounding the weights of a layer, and what enters it, should do to its sums.

A weight that is rounded to levels ``s`` apart is off by up to ``s / 2``, evenly: ``s**2 / 12`` in
the mean square (Bennett 1948, "Spectra of quantized signals"). It is rounded once for all images:
in ``sum_k d_k x_k`` the ``d_k`` stay and the ``x_k`` vary, so the error is a pattern of the kind
that faults leave. Its size follows from the file's scales and from what enters, never from the
weights themselves: that is where a fault sits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgevit.runtimes.inner_tensors import Product, Rounding

ROWS = 256  # of what enters that are kept, of each chunk of images
LEVELS = 255  # steps between the smallest and the largest value that 8 bits tell apart
ROUNDS = 20  # of the power iteration: a tenth of the value is accuracy enough


@dataclass
class ProductNoise:
    """Samples of what enters one product, and what rounding does to them.

    Attributes:
        product: of the file.
        rows: parts of R K values that enter.
        errors: of rounding them on the way in, likewise.
    """

    product: Product
    rows: list[np.ndarray] = field(default_factory=list)
    errors: list[np.ndarray] = field(default_factory=list)

    def add(self, values: np.ndarray, shape: Sequence[int]) -> None:
        """Adds B and the elements of an image, of a tensor that has this shape in the file."""
        product, rows = self.product, values.astype(np.float64)
        if product.channels == 1 and len(shape) > 2:
            rows = np.moveaxis(rows.reshape(-1, *shape[1:]), 1, -1)
        rows = rows.reshape(-1, product.inputs)  # R K
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
        self.errors.append(np.rint(kept / step) * step - kept)

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
        power = self.product.power
        if not self.errors:
            return np.zeros(len(power)), np.zeros(len(power))
        rows, errors = np.concatenate(self.rows), np.concatenate(self.errors)  # R K
        mean, spread = errors.mean(axis=0), rows - rows.mean(axis=0)
        variance = np.square(spread).mean(axis=0)
        slope = (errors * spread).mean(axis=0) / np.maximum(variance, 1e-30)
        pattern = np.square(mean) + slope**2 * variance
        return power * np.square(errors).mean(), power * pattern.mean()


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
