"""How far a file is from what the machine could do at best.

The roofline model (Williams, Waterman & Patterson 2009, "Roofline: An Insightful Visual Performance
Model for Multicore Architectures"): work takes at least as long as its arithmetic at the measured
rate, and at least as long as its bytes at the measured bandwidth. The rates are those of one large
matrix product in the same runtime with as many threads; the bandwidth is that of a copy whose
working set is as large as the file's bytes, since what fits into a cache comes from there every
time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevit.core.measurements import Measurement


@dataclass(frozen=True)
class Cost:
    """What one inference must do, counted from the file.

    Attributes:
        macs: multiply-accumulates by arithmetic, "float32" or "int8".
        weight_bytes: of all constants.
        activation_bytes: of the tensors that go into and come out of matrix products, each once.
            What lies between (norms, activations) may be fused, so it is no lower bound.
        uncounted: operators that multiply, but could not be counted.
    """

    macs: dict[str, int]
    weight_bytes: int
    activation_bytes: int
    uncounted: tuple[str, ...] = ()

    @property
    def total_macs(self) -> int:
        """Of any arithmetic."""
        return sum(self.macs.values())

    @property
    def total_bytes(self) -> int:
        """Weights and activations."""
        return self.weight_bytes + self.activation_bytes


@dataclass(frozen=True)
class Roof:
    """One large matrix product in one runtime.

    Attributes:
        precision: "float32" or "int8".
        macs: of one inference.
        measurement: its samples, from the same rounds as the files'.
    """

    precision: str
    macs: int
    measurement: Measurement

    @property
    def macs_per_second(self) -> float:
        """At the lower quartile of all inferences: what it reaches when it is let alone."""
        samples = [ns for row in self.measurement.latency_ns for ns in row]
        return self.macs * 1e9 / float(np.percentile(samples, 25))


@dataclass(frozen=True)
class Bandwidth:
    """Copies between two blocks of memory.

    Attributes:
        threads: that copied at once.
        working_set_bytes: both blocks of all threads.
        copy_ns: time of each copy; it reads one half of the working set and writes the other.
    """

    threads: int
    working_set_bytes: int
    copy_ns: tuple[int, ...]

    @property
    def bytes_per_second(self) -> float:
        """At the lower quartile of the copies."""
        return self.working_set_bytes * 1e9 / float(np.percentile(self.copy_ns, 25))


@dataclass(frozen=True)
class Limit:
    """The least time that one inference can take.

    Attributes:
        compute_ms: its arithmetic at the measured rates.
        memory_ms: its bytes at the measured bandwidth.
    """

    compute_ms: float
    memory_ms: float

    @property
    def milliseconds(self) -> float:
        """The larger of both."""
        return max(self.compute_ms, self.memory_ms)

    @property
    def bound(self) -> str:
        """Which of both it is."""
        return "compute" if self.compute_ms >= self.memory_ms else "memory"


@dataclass(frozen=True)
class Roofline:
    """The machine's limits, and the work of the files that are held against them.

    Attributes:
        roofs: matrix products.
        bandwidths: copies of several sizes.
        works: of each row of the benchmark, in its order; None where it could not be counted.
    """

    roofs: tuple[Roof, ...]
    bandwidths: tuple[Bandwidth, ...]
    works: tuple[Cost | None, ...]

    def limit(self, row: Measurement, work: Cost | None) -> Limit | None:
        """The least time of a row; None where its work or a rate that it needs is unknown."""
        if work is None or work.uncounted or not work.total_macs:
            return None
        seconds = 0.0
        for precision, macs in work.macs.items():
            rate = self._rate(row, precision)
            if macs and rate is None:
                return None
            seconds += macs / rate if rate else 0.0
        bandwidth = self._bandwidth(row.case.threads, work.total_bytes)
        if bandwidth is None:
            return None
        return Limit(1e3 * seconds, 1e3 * work.total_bytes / bandwidth)

    def _rate(self, row: Measurement, precision: str) -> float | None:
        for roof in self.roofs:
            case = roof.measurement.case
            same = (case.runtime, case.threads) == (row.case.runtime, row.case.threads)
            if same and roof.precision == precision and roof.measurement.measured:
                return roof.macs_per_second
        return None

    def _bandwidth(self, threads: int, size: int) -> float | None:
        """Of the working set next in size, on a scale of ratios."""
        found = [one for one in self.bandwidths if one.threads == threads]
        if not found:
            return None
        return min(
            found, key=lambda one: abs(np.log(one.working_set_bytes / max(size, 1)))
        ).bytes_per_second
