"""Where an exported file goes wrong: what each layer adds to the error, and what it ought to add.

Errors travel: behind a damaged layer every layer looks damaged. So each float layer is also given
what the file's own layers before it computed. The distance between its answer and the file's is
what this layer alone adds. Rounding adds something too; how much is told by the levels of the
layer's own tensor and by the other layers of its kind in the same file. What is beyond that ranks
the layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgevit.core.layer_errors import FloatLayer, LayerError
from edgevit.core.targets import Precision
from edgevit.runtimes.inner_tensors import InnerTensor

# Relative error (root mean square) below which no layer of a file is worth a look, by precision.
NEGLIGIBLE = {
    Precision.FLOAT32: 2e-6,
    Precision.FLOAT16: 5e-4,
    Precision.DYNAMIC: 1.5e-2,  # 127 levels up to the largest value, which is 4 to 8 times the mean
    Precision.INT8: 4e-3,
}
MOST_DB = 400.0  # stands for what is infinite or no number
PEERS = 3  # layers of a kind from which on their median speaks for the kind


@dataclass
class ErrorSums:
    """Running sums over the images of one layer's output, for each channel of the last axis.

    Attributes:
        count: values of a channel.
        error: sum of squared differences.
        expected: sum of the squares of the float values.
        found: sum of the squares of the file's values.
        product: sum of their products.
        shift: sum of the differences.
        slant: sum of the differences times the float values.
        level: sum of the float values.
    """

    count: int = 0
    error: np.ndarray = field(default_factory=lambda: np.zeros(1))
    expected: np.ndarray = field(default_factory=lambda: np.zeros(1))
    found: np.ndarray = field(default_factory=lambda: np.zeros(1))
    product: np.ndarray = field(default_factory=lambda: np.zeros(1))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(1))
    slant: np.ndarray = field(default_factory=lambda: np.zeros(1))
    level: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Adds B ... C values of the float layer and of the file."""
        x = expected.reshape(-1, expected.shape[-1]).astype(np.float64)  # values C
        y = found.reshape(x.shape).astype(np.float64)
        self.count += len(x)
        self.error = self.error + np.square(y - x).sum(axis=0)
        self.expected = self.expected + np.square(x).sum(axis=0)
        self.found = self.found + np.square(y).sum(axis=0)
        self.product = self.product + (x * y).sum(axis=0)
        self.shift = self.shift + (y - x).sum(axis=0)
        self.slant = self.slant + ((y - x) * x).sum(axis=0)
        self.level = self.level + x.sum(axis=0)

    @property
    def relative(self) -> float:
        """Root mean square of the error over that of the float values. NaN counts as infinite."""
        error, signal = float(self.error.sum()), float(self.expected.sum())
        if not np.isfinite(error):
            return float("inf")
        if signal == 0:
            return 0.0 if error == 0 else float("inf")
        return float(np.sqrt(error / signal))

    @property
    def sqnr_db(self) -> float | None:
        """Signal to noise, in decibels; None without any noise, -MOST_DB for NaN."""
        relative = self.relative
        return None if relative == 0 else max(-MOST_DB, float(-20 * np.log10(relative)))

    @property
    def cosine(self) -> float:
        """Of the float values and the file's; 1 where both are zero, 0 where one is or for NaN."""
        a, b = float(self.expected.sum()), float(self.found.sum())
        product = float(self.product.sum())
        if not np.isfinite([a, b, product]).all():
            return 0.0
        if a == 0 or b == 0:
            return float(a == b)
        return product / float(np.sqrt(a) * np.sqrt(b))


@dataclass
class LayerSums:
    """Everything that is summed up about one layer.

    Attributes:
        layer: of the float model.
        tensor: of the file.
        total: against the float model on its own.
        added: against the float layer for the file's own input.
        saturated: values at the ends of the tensor's levels.
        clipped: values of the float layer beyond these ends.
        values: how many were looked at.
        input_noise: mean square that rounding the input puts on each channel, or on all.
    """

    layer: FloatLayer
    tensor: InnerTensor
    total: ErrorSums = field(default_factory=ErrorSums)
    added: ErrorSums = field(default_factory=ErrorSums)
    saturated: int = 0
    clipped: int = 0
    values: int = 0
    input_noise: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add_added(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Adds B ... C of the float layer for the file's input, and of the file."""
        self.added.add(expected, found)
        if self.tensor.step:
            low, high, half = self.tensor.low, self.tensor.high, self.tensor.step / 2
            self.saturated += int(np.sum((found <= low + half) | (found >= high - half)))
            self.clipped += int(np.sum((expected < low - half) | (expected > high + half)))
            self.values += found.size

    @property
    def rounding(self) -> np.ndarray:
        """Mean square error of rounding (uniform over a step), for each channel or for all."""
        return self.tensor.step**2 / 12 + self.input_noise


def summarise(sums: Sequence[LayerSums], precision: Precision) -> tuple[LayerError, ...]:
    """Figures of every layer, with what it adds beyond what is to be expected.

    Args:
        sums: of the layers, in the order of computation.
        precision: of the file.
    """
    typical = find_typical(sums, NEGLIGIBLE[precision])
    return tuple(_summarise_one(entry, typical[entry.layer.kind]) for entry in sums)


def find_typical(sums: Sequence[LayerSums], least: float) -> Mapping[str, float]:
    """Relative error, root mean square, that layers of each kind usually add beside rounding.

    The median over the layers of a kind, so that few damaged ones do not count; a kind with few
    layers may be as bad as the worst of the others.

    Args:
        sums: of the layers.
        least: what it is never below.
    """
    by_kind: dict[str, list[float]] = {}
    for entry in sums:
        by_kind.setdefault(entry.layer.kind, []).append(_beside_rounding(entry))
    medians = {kind: float(np.median(values)) for kind, values in by_kind.items()}
    known = [medians[kind] for kind, values in by_kind.items() if len(values) >= PEERS]
    whole = max(known) if known else float(np.median([v for vs in by_kind.values() for v in vs]))
    return {
        kind: max(least, medians[kind] if len(values) >= PEERS else whole)
        for kind, values in by_kind.items()
    }


def _beside_rounding(entry: LayerSums) -> float:
    power = float(entry.added.expected.mean())
    error = float(np.median(entry.added.error - entry.rounding * entry.added.count))
    if not np.isfinite(error):
        return float("inf")
    return float(np.sqrt(max(0.0, error) / power)) if power > 0 else 0.0


def _summarise_one(entry: LayerSums, typical: float) -> LayerError:
    excess, channel = measure_excess(entry, typical)
    values = entry.values
    return LayerError(
        layer=entry.layer.path,
        kind=entry.layer.kind,
        tensor=entry.tensor.name.split(";")[0],
        op=entry.tensor.op,
        relative=entry.added.relative,
        sqnr_db=entry.added.sqnr_db,
        cosine=entry.added.cosine,
        excess_db=excess,
        channel=channel,
        total_sqnr_db=entry.total.sqnr_db,
        total_cosine=entry.total.cosine,
        saturated=entry.saturated / values if values else None,
        clipped=entry.clipped / values if values else None,
    )


def measure_excess(entry: LayerSums, typical: float) -> tuple[float, int]:
    """(decibels by which the worst channel's error is above what is expected, this channel).

    Expected is rounding to the tensor's levels, and the typical relative error of the layer's
    output as a whole or of the channel itself, whichever is larger.

    Args:
        entry: of the layer.
        typical: relative error of layers of its kind.
    """
    count = max(1, entry.added.count)
    error, power = entry.added.error / count, entry.added.expected / count
    noise = entry.rounding + typical**2 * np.maximum(power, power.mean())
    ratio = np.where(np.isfinite(error), error, np.inf) / np.maximum(noise, 1e-300)
    channel = int(np.argmax(ratio))
    return min(MOST_DB, float(10 * np.log10(max(ratio[channel], 1e-12)))), channel
