"""What calibration remembers of activations: extremes and histograms, in no order."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.quantization.histogram import Histogram


@dataclass(frozen=True, eq=False)
class ChannelRanges:
    """What each channel of a tensor took.

    Attributes:
        lows: smallest values. float32 C.
        highs: largest values. float32 C.
        means: of all values. float32 C.
        squares: means of the squared values. float32 C.
    """

    lows: np.ndarray
    highs: np.ndarray
    means: np.ndarray
    squares: np.ndarray

    def to_text(self) -> str:
        """The four rows as little-endian float32, compressed, in base64."""
        rows = np.stack([self.lows, self.highs, self.means, self.squares]).astype("<f4")
        return base64.b64encode(zlib.compress(rows.tobytes(), 9)).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> ChannelRanges:
        """Reads :meth:`to_text`.

        Raises:
            ValueError: damaged.
        """
        try:
            packed = base64.b64decode(text, validate=True)
            values = np.frombuffer(zlib.decompressobj().decompress(packed, MOST_BYTES), "<f4")
        except (TypeError, zlib.error) as error:
            raise ValueError(f"no ranges of channels: {error!r}") from None
        if not len(values) or len(values) % 4 or not np.isfinite(values).all():
            raise ValueError("no ranges of channels: not four rows of finite numbers")
        return cls(*values.reshape(4, -1))


@dataclass(frozen=True)
class Observation:
    """All values that one tensor took.

    Attributes:
        low: the smallest.
        high: the largest.
        histogram: None where only the extremes were watched, or where the range is fixed: it is
            then never clipped.
        means: of each channel, the last axis; None where nobody asked for them.
        channels: ranges of each channel; None where nobody asked for them, or the range is fixed.
    """

    low: float
    high: float
    histogram: Histogram | None = None
    means: tuple[float, ...] | None = None
    channels: ChannelRanges | None = None


MOST_BYTES = 1 << 24  # of the ranges of a tensor's channels, unpacked
AT_ONCE = 1 << 15  # values of a tensor that are counted together: small ones cost a call each
FRACTION = 2.0**30  # means are added up as whole numbers of this fraction: in any order the same


class Observer:
    """Watches tensors by name, image after image.

    Args:
        histograms: whether values are counted, or only their extremes kept.

    Attributes:
        averaged: names of tensors whose means are wanted.
        divided: names of tensors whose channels are wanted one by one.
    """

    def __init__(self, histograms: bool = False):
        self.averaged: frozenset[str] = frozenset()
        self.divided: frozenset[str] = frozenset()
        self._channels: dict[str, _ChannelSums] = {}
        self._counts = histograms
        self._waiting: dict[str, list[np.ndarray]] = {}
        self._sums: dict[str, np.ndarray] = {}
        self._images: dict[str, int] = {}
        self._seen: dict[str, tuple[float, float]] = {}
        self._histograms: dict[str, Histogram] = {}

    def see(self, name: str, value: np.ndarray) -> None:
        """Takes in the values of a tensor on further images.

        Args:
            name: of the tensor.
            value: ... C, which the caller leaves as it is.

        Raises:
            ExportError: one of them, or of those before, is not finite.
        """
        waiting = self._waiting.setdefault(name, [])
        waiting.append(value)
        if len(waiting) * value.size >= AT_ONCE:
            self._take_in(name)

    def _take_in(self, name: str) -> None:
        """Counts what waits: in parts or at once, the numbers are the same."""
        values = self._waiting.pop(name)
        joined = np.concatenate([value.reshape(-1) for value in values])
        low, high = float(joined.min()), float(joined.max())  # NaN if there is one
        if not np.isfinite([low, high]).all():
            raise ExportError(
                f"the activation {name!r} is not finite on the calibration images, so the weights "
                "are damaged or the images are in another range than the network expects."
            )
        known = self._seen.get(name, (low, high))
        self._seen[name] = min(known[0], low), max(known[1], high)
        for value in values:
            self._add_channels(name, value)
        if self._counts:
            found = Histogram.of_values(joined, (low, high))
            older = self._histograms.get(name)
            self._histograms[name] = older.merged(found) if older else found

    def _take_in_all(self) -> None:
        for name in [*self._waiting]:
            self._take_in(name)

    def _add_channels(self, name: str, value: np.ndarray) -> None:
        if name in self.averaged:
            mean = value.reshape(-1, value.shape[-1]).mean(axis=0, dtype=np.float64)  # C
            whole = np.rint(mean * FRACTION).astype(np.int64)
            self._sums[name] = self._sums.get(name, 0) + whole
            self._images[name] = self._images.get(name, 0) + 1
        if name in self.divided:
            self._channels.setdefault(name, _ChannelSums(value.shape[-1])).see(value)

    def absorb(self, other: Observer) -> None:
        """Takes in what another one saw on other images, as if it had been seen here."""
        self._take_in_all()
        other._take_in_all()
        for name, (low, high) in other._seen.items():
            known = self._seen.get(name, (low, high))
            self._seen[name] = min(known[0], low), max(known[1], high)
        for name, sums in other._sums.items():
            self._sums[name] = self._sums.get(name, 0) + sums
            self._images[name] = self._images.get(name, 0) + other._images[name]
        for name, channels in other._channels.items():
            count = len(channels.lows)
            self._channels.setdefault(name, _ChannelSums(count)).absorb(channels)
        for name, found in other._histograms.items():
            older = self._histograms.get(name)
            self._histograms[name] = older.merged(found) if older else found

    def observations(self) -> dict[str, Observation]:
        """Everything seen so far, by name.

        Raises:
            ExportError: a value is not finite.
        """
        self._take_in_all()
        return {
            name: Observation(
                low,
                high,
                self._histograms.get(name),
                self._means(name),
                self._channels[name].ranges() if name in self._channels else None,
            )
            for name, (low, high) in self._seen.items()
        }

    def _means(self, name: str) -> tuple[float, ...] | None:
        if name not in self._sums:
            return None
        means = (self._sums[name] / (FRACTION * self._images[name])).astype(np.float32)
        return tuple(float(str(mean)) for mean in means)  # as few digits as a float32 needs


class _ChannelSums:
    """Extremes and sums of each channel; single precision adds up exactly in double."""

    def __init__(self, count: int):
        self.lows, self.highs = np.full(count, np.inf), np.full(count, -np.inf)
        self.sums, self.squares = np.zeros((2, count))
        self.images = 0

    def see(self, value: np.ndarray) -> None:
        rows = value.reshape(-1, value.shape[-1])  # places C
        self.lows = np.minimum(self.lows, rows.min(axis=0))
        self.highs = np.maximum(self.highs, rows.max(axis=0))
        self.sums += rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.squares += np.square(rows, dtype=np.float64).mean(axis=0).astype(np.float32)
        self.images += 1

    def absorb(self, other: _ChannelSums) -> None:
        self.lows = np.minimum(self.lows, other.lows)
        self.highs = np.maximum(self.highs, other.highs)
        self.sums += other.sums
        self.squares += other.squares
        self.images += other.images

    def ranges(self) -> ChannelRanges:
        rows = (self.lows, self.highs, self.sums / self.images, self.squares / self.images)
        return ChannelRanges(*(row.astype(np.float32) for row in rows))
