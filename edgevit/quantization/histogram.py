"""How often an activation took which values, counted so that no order of images can show.

Bins are as wide as a power of two and start at multiples of it. Two neighbours therefore merge into
exactly one bin of the next width, and the finest width at which a range fits depends on the range
alone: counting images one by one, in any order or in parts, ends in the same numbers.
"""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

BINS = 2048  # more than 1,024 of them are in use wherever a tensor takes that many values
CHUNK = 1 << 15  # values that are counted at a time, so that they stay in the cache
FINEST = -40  # exponent of the narrowest bin: a tensor of zeros ends there


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values in bins ``[i * 2**exponent, (i + 1) * 2**exponent)``.

    Attributes:
        exponent: of the width.
        first: number of the first bin.
        counts: int64, one a bin from there on; neither the first nor the last is empty.
    """

    exponent: int
    first: int
    counts: np.ndarray

    @cached_property
    def packed(self) -> str:
        """The counts as :func:`pack_counts` writes them; of one that was read, what was read."""
        return pack_counts(self.counts)

    @classmethod
    def of_values(cls, values: np.ndarray, ends: tuple[float, float] | None = None) -> Histogram:
        """Counts finite values, at least one.

        Args:
            values: of any shape.
            ends: the smallest and the largest of them, where they are known.
        """
        flat = np.asarray(values).reshape(-1)
        low, high = ends or (float(flat.min()), float(flat.max()))
        exponent = finest_exponent(low, high)
        # Bins as narrow as 1 and less: a product with a power of two, its floor and the difference
        # to the first bin are exact in float32. Beyond, a value near zero could underflow.
        kind = np.float32 if flat.dtype == np.float32 and exponent <= 0 else np.float64
        scale = kind(math.ldexp(1.0, -exponent))
        first, last = (np.floor(kind(end) * scale) for end in (low, high))
        counts = np.zeros(int(last - first) + 1, np.int64)
        for start in range(0, len(flat), CHUNK):
            places = np.floor(np.multiply(flat[start : start + CHUNK], scale, dtype=kind)) - first
            counts += np.bincount(places.astype(np.intp), minlength=len(counts))
        return cls(exponent, int(first), counts)

    def merged(self, other: Histogram) -> Histogram:
        """The counts of both, as if their values had been counted together."""
        exponent = max(self.exponent, other.exponent)
        while True:
            one, two = self.coarsened(exponent), other.coarsened(exponent)
            first = min(one.first, two.first)
            last = max(one.last, two.last)
            if last - first < BINS:
                break
            exponent += 1
        counts = np.zeros(last - first + 1, np.int64)
        for part in (one, two):
            counts[part.first - first : part.last - first + 1] += part.counts
        return Histogram(exponent, first, counts)

    def coarsened(self, exponent: int) -> Histogram:
        """The same counts in bins that are wider by whole powers of two."""
        steps = exponent - self.exponent
        if steps == 0:
            return self
        first = self.first >> steps
        places = (np.arange(self.first, self.last + 1) >> steps) - first
        counts = np.bincount(places, weights=self.counts).astype(np.int64)
        return Histogram(exponent, first, counts)

    @property
    def last(self) -> int:
        """Number of the last bin."""
        return self.first + len(self.counts) - 1

    @property
    def width(self) -> float:
        """Of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def edges(self) -> np.ndarray:
        """Borders of the bins, one more than there are bins. float64."""
        return np.arange(self.first, self.last + 2) * self.width

    @property
    def centres(self) -> np.ndarray:
        """Middles of the bins. float64."""
        return self.edges[:-1] + self.width / 2

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        same = (self.exponent, self.first) == (other.exponent, other.first)
        return same and np.array_equal(self.counts, other.counts)


def pack_counts(counts: np.ndarray) -> str:
    """Counts as text: little-endian int64, compressed, in base64."""
    packed = zlib.compress(counts.astype("<i8").tobytes(), 9)
    return base64.b64encode(packed).decode("ascii")


def unpack_counts(text: Any) -> np.ndarray:
    """Reads :func:`pack_counts`.

    Returns:
        int64, one a bin.

    Raises:
        ValueError: damaged.
    """
    try:
        # At most what BINS bins can take: a damaged file does not unpack to gigabytes.
        packed = base64.b64decode(text, validate=True)
        counts = np.frombuffer(zlib.decompressobj().decompress(packed, 8 * BINS), "<i8")
    except (TypeError, zlib.error) as error:
        raise ValueError(f"no histogram: {error!r}") from None
    if not len(counts) or counts.min() < 0 or counts.sum() == 0:
        raise ValueError("no histogram: its counts are empty or negative")
    return counts.astype(np.int64)


def finest_exponent(low: float, high: float) -> int:
    """Exponent of the narrowest bins with which a range takes at most BINS of them."""
    span = max(high - low, 0.0)
    exponent = max(FINEST, math.frexp(span / BINS)[1] - 1 if span else FINEST)
    largest = max(abs(low), abs(high))
    if largest:  # beyond 2**53 bins from zero, their numbers would not be exact
        exponent = max(exponent, math.frexp(largest)[1] - 50)
    while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= BINS:
        exponent += 1
    return exponent
