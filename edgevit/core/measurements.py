"""Measurements of one worker process, and the machine. Raw samples; statistics are derived."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.statistics import Interval, bootstrap_median, median_absolute_deviation

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
class InstructionCount:
    """What callgrind counted.

    Attributes:
        inferences: N.
        total: instructions of N inferences, with what surrounds them.
        total_of_twice: of 2 N.
        failure: why there is no count; "" if there is.
    """

    inferences: int
    total: int = 0
    total_of_twice: int = 0
    failure: str = ""

    @property
    def per_inference(self) -> int | None:
        """Of one inference; None where there is no count."""
        if self.failure:
            return None
        return round((self.total_of_twice - self.total) / self.inferences)


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
        instructions: by callgrind, where that was asked for.
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
    instructions: InstructionCount | None = None

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
