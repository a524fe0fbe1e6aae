"""Where an exported file goes wrong: what each layer adds to the error, and what it ought to add.

Errors travel: behind a damaged layer every layer looks damaged. So each float layer is also given
what the file's own layers before it computed. The distance between its answer and the file's is
what this layer alone adds. Rounding adds something too, but without a pattern; a fault is
systematic. So for each channel the part of the error that is a line over the float value is held
against what the levels of the tensor and the other layers of its kind let expect. What is beyond
ranks the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from edgevit.core.layer_errors import FloatLayer, LayerError
from edgevit.core.target import Precision
from edgevit.formats.intermediate import IntermediateTensor, Levels
from edgevit.verification.rounding_noise import FEW, RARE, InsideNoise, ProductNoise

# Relative error (root mean square) below which no layer of a file is worth a look, by precision.
NEGLIGIBLE = {
    Precision.FLOAT32: 2e-6,
    Precision.FLOAT16: 5e-4,
    Precision.DYNAMIC: 1.5e-2,  # 127 levels up to the largest value, which is 4 to 8 times the mean
    Precision.DYNAMIC_INT4: 0.27,  # likewise with 7 levels
    Precision.INT8: 4e-3,
    Precision.INT16X8: 4e-3,  # of the weights
    Precision.MIXED: 1.5e-2,  # operators with dynamic weights may be among them
}
MOST_DB = 400.0  # stands for what is infinite or no number
CORRELATED = 0.005  # share of rounding errors that is a pattern, since inputs repeat themselves
# The mean over channels varies far less than the worst of them, so as much of it says more.
ALL_CHANNELS = 5.0
# Slopes of operators that squash what a product returns, by what they return themselves.
SQUASHING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(("SOFTMAX", "Softmax", "LOGISTIC", "Sigmoid"), lambda y: y * (1 - y)),
    **dict.fromkeys(("TANH", "Tanh"), lambda y: 1 - y * y),
}
PEERS = 3  # layers of a kind from which on their median speaks for the kind
BLOCK = 1 << 15  # values that are summed up at a time: what they become stays in a core's cache


@dataclass
class LineSums:
    """Running sums over the images of one layer's output, for each channel of the last axis.

    Attributes:
        count: values of a channel.
        expected: sum of the squares of the float values.
        shift: sum of the differences.
        slant: sum of the differences times the float values.
        level: sum of the float values.
    """

    count: int = 0
    expected: np.ndarray = field(default_factory=lambda: np.zeros(1))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(1))
    slant: np.ndarray = field(default_factory=lambda: np.zeros(1))
    level: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Adds float64 V C values of the float layer and of the file, few at a time."""
        difference = y - x
        self.count += len(x)
        self.expected = self.expected + np.square(x).sum(axis=0)
        self.shift = self.shift + difference.sum(axis=0)
        self.slant = self.slant + (difference * x).sum(axis=0)
        self.level = self.level + x.sum(axis=0)

    @property
    def systematic(self) -> np.ndarray:
        """Mean square of the part of the error that is a line over the float value, by channel.

        Rounding is without a pattern: the more values, the less of it a line explains. A scale, an
        offset, or a channel that is lost or another one is all pattern.
        """
        count = max(1, self.count)
        shift, level = self.shift / count, self.level / count
        variance = np.maximum(self.expected / count - level**2, 0)
        covariance = self.slant / count - shift * level
        varies = variance > 1e-12 * max(float(variance.mean()), 1e-300)
        slope = np.divide(covariance, variance, out=np.zeros_like(variance), where=varies)
        return shift**2 + slope * covariance


@dataclass
class ErrorSums(LineSums):
    """Likewise, with what tells how large errors are.

    Attributes:
        error: sum of squared differences.
        found: sum of the squares of the file's values.
        product: sum of the products of both.
    """

    error: np.ndarray = field(default_factory=lambda: np.zeros(1))
    found: np.ndarray = field(default_factory=lambda: np.zeros(1))
    product: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """See :meth:`LineSums.add`."""
        super().add(x, y)
        self.error = self.error + np.square(y - x).sum(axis=0)
        self.found = self.found + np.square(y).sum(axis=0)
        self.product = self.product + (x * y).sum(axis=0)

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


@dataclass(eq=False)
class LayerSums:
    """Everything that is summed up about one layer.

    Attributes:
        layer: of the float model.
        tensor: of the file.
        last: path of the layer whose output is compared, where a step computes several.
        total: against the float model on its own.
        added: against the float layer for the file's own input.
        saturated: values at the ends of the tensor's levels.
        clipped: values of the float layer beyond these ends.
        values: how many were looked at.
        rounded: the float layer against itself, rounded to steps of the tensor.
        limited: likewise, with nothing beyond its levels.
        products: what enters the layer's products with stored weights.
        inside: its other integer tensors.
        slope: sum of the squared slopes of what squashes its products, by channel.
    """

    layer: FloatLayer
    tensor: IntermediateTensor
    last: str = ""
    within: tuple[str, ...] = ()
    total: ErrorSums = field(default_factory=ErrorSums)
    added: ErrorSums = field(default_factory=ErrorSums)
    saturated: int = 0
    clipped: int = 0
    values: int = 0
    rounded: LineSums = field(default_factory=LineSums)
    limited: LineSums = field(default_factory=LineSums)
    products: Sequence[ProductNoise] = ()
    inside: InsideNoise = field(default_factory=InsideNoise)
    slope: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add_total(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Adds B ... C of the float model on its own, and of the file."""
        for x, y in _cut(expected, found):
            self.total.add(x, y)

    def add_added(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Adds B ... C of the float layer for the file's input, and of the file."""
        levels = self._levels(expected.shape[-1])
        for x, y in _cut(expected, found):
            self.added.add(x, y)
            if self.tensor.op in SQUASHING:
                self.slope = self.slope + np.square(SQUASHING[self.tensor.op](x)).sum(axis=0)
            if levels is not None:
                self._add_rounded(x, y, levels)

    def _add_rounded(self, x: np.ndarray, y: np.ndarray, levels: Levels) -> None:
        """Adds float64 V C of the float layer and of the file, which has these levels."""
        low, high, half = levels.low, levels.high, levels.step / 2  # C, or one
        self.saturated += int(np.sum((y <= low + half) | (y >= high - half)))
        self.clipped += int(np.sum((x < low - half) | (x > high + half)))
        self.values += y.size
        steps = np.maximum(2 * half, 1e-30)
        rounded = np.rint((x - low) / steps) * steps + low
        self.rounded.add(x, rounded)
        self.limited.add(x, np.clip(rounded, low, high))

    def _levels(self, channels: int) -> Levels | None:
        """Of the layer's output, C or one; None where the file's tensor is not rounded."""
        if self.tensor.levels is None:
            return None
        levels = self.tensor.levels.match(channels)
        if not self.tensor.bare or self.layer.affine is None:
            return levels
        scale, offset = self.layer.affine  # from the file's tensor to the layer's output
        return levels.scale(scale).shift(offset)

    @cached_property
    def noise(self) -> np.ndarray:
        """Mean square of the systematic error that rounding should leave, by channel or for all.

        Rounding of values leaves little, unless a channel moves within few levels; rounding of
        weights leaves all that it does. It is to be asked for when all images were added.
        """
        share = 2 / max(1, self.added.count) + CORRELATED
        found = np.zeros(1)  # C, or 1
        levels = self._levels(len(self.added.systematic))
        if levels is not None:
            found = share * np.square(levels.step) / 12
            rare = self.clipped <= max(FEW, RARE * self.values)
            found = np.maximum(found, (self.limited if rare else self.rounded).systematic)
        for product in self.products:
            whole, pattern = product.of_input
            more = product.of_weights + np.maximum(share * whole, pattern)
            fits = len(more) == len(self.added.systematic)
            found = found + self.gain * (more if fits else more.max())
        return found + self.inside.relative * self.power

    @property
    def gain(self) -> np.ndarray:
        """How much of the mean square of an error a layer's last operator lets through."""
        if self.tensor.op not in SQUASHING:
            return np.ones(1)
        return self.slope / max(1, self.added.count)

    @property
    def power(self) -> np.ndarray:
        """Mean square of the float layer's output, by channel; at least the mean of all."""
        found = self.added.expected / max(1, self.added.count)
        return np.maximum(found, found.mean())


def _cut(expected: np.ndarray, found: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """B ... C values of a float layer and of the file, in float64 V C pieces of about BLOCK."""
    expected = expected.reshape(-1, expected.shape[-1])
    found = found.reshape(expected.shape)
    rows = max(1, BLOCK // max(1, expected.shape[1]))
    for start in range(0, len(expected), rows):
        part = slice(start, start + rows)
        yield expected[part].astype(np.float64), found[part].astype(np.float64)


def summarise(sums: Sequence[LayerSums], precision: Precision) -> tuple[LayerError, ...]:
    """Figures of every layer, with what it adds beyond what is to be expected.

    Args:
        sums: of the layers, in the order of computation.
        precision: of the file.
    """
    worst = find_worst_channels(sums, NEGLIGIBLE[precision])
    return tuple(_summarise_one(entry, *found) for entry, found in zip(sums, worst, strict=True))


def find_worst_channels(sums: Sequence[LayerSums], least: float) -> list[tuple[float, int]]:
    """How far each layer is beyond what is expected of it, and in which channel.

    A channel's systematic error is held against what remains of rounding in the mean, and against
    the systematic error that layers of its kind usually have. Kinds whose sound layers have a bad
    channel each (normalisation in integers) are forgiven as much.

    Args:
        sums: of the layers.
        least: relative error that is never worth a look.

    Returns:
        (decibels beyond expectation, channel); MOST_DB where a value is no number.
    """
    sound = [entry for entry in sums if np.isfinite(entry.added.error).all()]
    usual = _by_kind(sound, [_relative_systematic(entry) for entry in sound], max)
    found = [
        _worst_channel(entry, max(least, usual[entry.layer.kind]))
        if entry in sound
        else (MOST_DB, int(np.argmin(np.isfinite(entry.added.error))))
        for entry in sums
    ]
    excess = [pair[0] for entry, pair in zip(sums, found, strict=True) if entry in sound]
    forgiven = _by_kind(sound, excess, lambda values: float(np.median(excess)))
    return [
        (value - max(0.0, forgiven[entry.layer.kind]), channel)
        if entry in sound
        else (value, channel)
        for entry, (value, channel) in zip(sums, found, strict=True)
    ]


def _by_kind(
    sums: Sequence[LayerSums], values: Sequence[float], of_few: Callable[[list[float]], float]
) -> dict[str, float]:
    """The median over the layers of each kind, so that few damaged ones do not count.

    Args:
        sums: of the layers.
        values: one for each.
        of_few: what stands for kinds with fewer than PEERS layers, from the medians of the others.
    """
    by_kind: dict[str, list[float]] = {}
    for entry, value in zip(sums, values, strict=True):
        by_kind.setdefault(entry.layer.kind, []).append(value)
    medians = {kind: float(np.median(found)) for kind, found in by_kind.items()}
    known = [medians[kind] for kind, found in by_kind.items() if len(found) >= PEERS]
    few = of_few(known or [float(np.median(values))]) if values else 0.0
    return {kind: medians[kind] if len(found) >= PEERS else few for kind, found in by_kind.items()}


def _relative_systematic(entry: LayerSums) -> float:
    """Systematic error of the middle channel beside rounding, relative to the layer's output."""
    power = float(entry.added.expected.mean()) / max(1, entry.added.count)
    error = float(np.median(entry.added.systematic - entry.noise))
    return float(np.sqrt(max(0.0, error) / power)) if power > 0 else 0.0


def _worst_channel(entry: LayerSums, usual: float) -> tuple[float, int]:
    """(decibels by which the worst channel is above rounding and the usual error, this channel)."""
    noise = entry.noise + usual**2 * entry.power
    ratio = entry.added.systematic / np.maximum(noise, 1e-300)
    channel = int(np.argmax(ratio))
    evidence = max(ratio[channel], ALL_CHANNELS * float(ratio.mean()), 1e-12)
    return float(np.clip(10 * np.log10(evidence), -MOST_DB, MOST_DB)), channel


def _summarise_one(entry: LayerSums, excess: float, channel: int) -> LayerError:
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
        last=entry.last,
        within=entry.within,
    )
