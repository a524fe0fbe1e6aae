"""Latency measurements: raw samples with the machine they came from. Statistics are derived."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edgevit.core.errors import ConfigError, ModelFileError
from edgevit.core.serialization import VERSION, from_plain, to_json
from edgevit.core.statistics import (
    Interval,
    bootstrap_median,
    median_absolute_deviation,
    paired_ratio,
)

BENCHMARK_KIND = "edgevit.benchmark"
# A fixed computation that spreads or drifts by more than this: the machine is too noisy.
NOISE_LIMIT = 0.05
QUARTILES_TO_DEVIATION = 1.349  # distance of a normal distribution's quartiles
# A median that is known no better than this, relative, is marked.
WIDTH_LIMIT = 0.05


@dataclass(frozen=True)
class Environment:
    """The machine and the tools behind a measurement.

    Attributes:
        cpu: model name.
        instruction_sets: those that matter to the kernels.
        cores: that the process may use.
        memory_bytes: of the machine; None where it does not say.
        system: operating system.
        machine: architecture, such as "x86_64".
        governor: of the CPU's frequency; None where it cannot be read, as on virtual machines.
        host: digest of the machine's identity; tells machines apart and says no name.
        device: accelerator that was used; "" for the CPU.
        versions: of Python, edgevit and the runtimes.
    """

    cpu: str
    instruction_sets: tuple[str, ...]
    cores: int
    memory_bytes: int | None
    system: str
    machine: str
    governor: str | None
    host: str
    device: str
    versions: dict[str, str]

    def same_machine(self, other: Environment) -> bool:
        """Whether times from both may stand beside each other."""
        mine, theirs = (
            (e.host, e.cpu, e.instruction_sets, e.cores, e.machine, e.device) for e in (self, other)
        )
        return mine == theirs

    def __str__(self) -> str:
        parts = [f"{self.cpu}, {self.cores} cores", " ".join(self.instruction_sets)]
        parts += [f"governor {self.governor}"] if self.governor else []
        return ", ".join(part for part in (*parts, self.device) if part)


@dataclass(frozen=True)
class BenchmarkCase:
    """What one worker process measures.

    Attributes:
        file: path as the user gave it.
        runtime: a key of RUNTIMES, such as "litert".
        threads: of the kernels.
        batch: images in an inference; None: the file's own, 1 where that is free.
        device: "cpu" or "gpu".
    """

    file: str
    runtime: str
    threads: int = 1
    batch: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Measurement:
    """Everything that one worker process said.

    Attributes:
        case: what it was asked.
        sha256: of the file.
        size_bytes: of the file.
        batch: images in an inference, in fact.
        import_ns: to import the runtime.
        load_ns: to load the file in it, from a warm disk cache.
        first_ns: the first inference, with the allocation that it needs.
        idle_bytes: peak memory of the process before it loaded the file.
        peak_bytes: peak memory of the process at the end.
        warmup: inferences before the first sample.
        stable: whether the time of an inference stopped changing while it warmed up.
        latency_ns: one row a round, one entry an inference.
        failure: why it has no (further) samples; "" if nothing went wrong.
    """

    case: BenchmarkCase
    sha256: str
    size_bytes: int
    batch: int = 0
    import_ns: int = 0
    load_ns: int = 0
    first_ns: int = 0
    idle_bytes: int = 0
    peak_bytes: int = 0
    warmup: int = 0
    stable: bool = False
    latency_ns: tuple[tuple[int, ...], ...] = ()
    failure: str = ""

    @property
    def measured(self) -> bool:
        """Whether there is any sample."""
        return bool(self.latency_ns)

    @cached_property
    def round_medians_ns(self) -> list[float]:
        """One figure a round."""
        return [float(np.median(row)) for row in self.latency_ns]

    @cached_property
    def median_ms(self) -> Interval:
        """Median over the rounds' medians, with a 95 % bootstrap interval over rounds."""
        found = bootstrap_median(self.round_medians_ns)
        return Interval(found.middle / 1e6, found.low / 1e6, found.high / 1e6)

    @cached_property
    def p95_ms(self) -> float:
        """95th percentile of all single inferences."""
        return float(np.percentile([ns for row in self.latency_ns for ns in row], 95)) / 1e6

    @cached_property
    def mad_ms(self) -> float:
        """Median absolute deviation of all single inferences."""
        return median_absolute_deviation([ns for row in self.latency_ns for ns in row]) / 1e6

    @property
    def cold_start_ms(self) -> float:
        """Load and first inference."""
        return (self.load_ns + self.first_ns) / 1e6

    @property
    def images_per_second(self) -> float:
        """Throughput at the median latency."""
        return self.batch * 1e3 / self.median_ms.middle

    @property
    def settled(self) -> bool:
        """Whether it warmed up to a standstill and its median is known well enough."""
        return self.measured and self.stable and self.median_ms.half_width <= WIDTH_LIMIT


@dataclass(frozen=True)
class BenchmarkResult:
    """One run: all cases interleaved on one machine.

    Attributes:
        environment: the machine.
        rows: one for each case.
        reference: index of the row that the others are compared with; None: no comparison.
        yardstick_ns: a fixed computation, one sample a round: how steady the machine was.
        seed: of the order within the rounds.
    """

    environment: Environment
    rows: tuple[Measurement, ...]
    reference: int | None
    yardstick_ns: tuple[int, ...]
    seed: int
    kind: str = field(default=BENCHMARK_KIND)

    def ratio(self, row: Measurement) -> Interval | None:
        """Time of a row over the reference's, paired by rounds; None where either is missing."""
        if self.reference is None or not row.measured or not self.rows[self.reference].measured:
            return None
        return paired_ratio(row.round_medians_ns, self.rows[self.reference].round_medians_ns)

    @property
    def spread(self) -> float:
        """How far the fixed computation's rounds lie apart: quartile distance over the median.

        In units of a normal distribution's standard deviation. Quartiles see a machine of two
        speeds, which the median absolute deviation may not.
        """
        low, middle, high = np.percentile(self.yardstick_ns, [25, 50, 75])
        return float((high - low) / QUARTILES_TO_DEVIATION / middle)

    @property
    def drift(self) -> float:
        """Change of the fixed computation from the first third of the rounds to the last."""
        third = max(1, len(self.yardstick_ns) // 3)
        early, late = self.yardstick_ns[:third], self.yardstick_ns[-third:]
        return float(np.median(late) / np.median(early)) - 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing a figure; empty on a quiet machine."""
        found = []
        if self.yardstick_ns and self.spread > NOISE_LIMIT:
            found.append(
                f"the machine is too noisy: a fixed computation spread by {100 * self.spread:.0f} "
                f"% between rounds (limit {100 * NOISE_LIMIT:.0f} %). Trust ratios, not times"
            )
        if self.yardstick_ns and abs(self.drift) > NOISE_LIMIT:
            found.append(
                f"the machine's speed changed: a fixed computation took {100 * self.drift:+.0f} % "
                f"at the end (limit {100 * NOISE_LIMIT:.0f} %). Trust ratios, not times"
            )
        loose = sum(row.measured and not row.settled for row in self.rows)
        if loose:
            found.append(
                f"{loose} of {len(self.rows)} rows, marked ~, did not settle: unstable after the "
                f"warm-up, or a median known to no better than {100 * WIDTH_LIMIT:.0f} %. "
                "Raise --rounds, or stop other work"
            )
        return tuple(found)

    @property
    def failed(self) -> bool:
        """Whether any row has something to complain of, or there is none."""
        return not self.rows or any(row.failure for row in self.rows)

    def to_text(self) -> str:
        """The document: raw samples, nothing derived."""
        return to_json({"version": VERSION, **json.loads(to_json(self))}) + "\n"

    @classmethod
    def from_text(cls, text: str, name: str) -> BenchmarkResult:
        """Reads :meth:`to_text`.

        Raises:
            ModelFileError: damaged, of another kind, or written by a newer version.
        """
        try:
            document: Any = json.loads(text)
            if not isinstance(document, dict) or document.get("kind") != BENCHMARK_KIND:
                raise ModelFileError(
                    f"{name}: no result of a benchmark. 'edgevit benchmark FILE --out RESULT.json' "
                    "writes one."
                )
            if document["version"] > VERSION:
                raise ModelFileError(
                    f"{name}: written by a newer edgevit (version {document['version']}). Upgrade."
                )
            found: BenchmarkResult = from_plain(cls, document)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"{name}: the benchmark's result is damaged ({error}).") from None
        if found.reference is not None and not 0 <= found.reference < len(found.rows):
            raise ModelFileError(f"{name}: its reference is none of its {len(found.rows)} rows.")
        return found


def refuse_other_machine(mine: Environment, theirs: Environment, name: str) -> None:
    """Stops before times of two machines stand beside each other.

    Raises:
        ConfigError: they are of different machines.
    """
    if not mine.same_machine(theirs):
        raise ConfigError(
            f"{name}: measured on another machine ({theirs}); this one is {mine}. Times of "
            "different machines are not compared. Give the file itself, and it is measured here."
        )
