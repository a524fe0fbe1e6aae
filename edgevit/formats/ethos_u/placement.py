"""Where the operators of a file run on a system with an Ethos-U: on the NPU or beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgevit.base.errors import UnknownNameError

# What Vela compiles for: family and multiply-accumulates a cycle.
NPUS = tuple(
    f"ethos-{family}-{macs}"
    for family, sizes in {
        "u55": (32, 64, 128, 256),
        "u65": (256, 512),
        "u85": (128, 256, 512, 1024, 2048),
    }.items()
    for macs in sizes
)


@dataclass(frozen=True)
class PlacedOperator:
    """One operator of a compiled file.

    Attributes:
        operator: as Vela calls it, such as "FullyConnected".
        tensor: name of what it computes.
        layer: of the Keras model; empty where the name tells none.
        on_npu: whether the NPU runs it.
        cycles: that Vela expects of it; 0 on the CPU, which it does not estimate.
        reason: why it stays on the CPU; empty on the NPU.
    """

    operator: str
    tensor: str
    layer: str
    on_npu: bool
    cycles: int
    reason: str


@dataclass(frozen=True)
class PlacedLayer:
    """The operators of one layer.

    Attributes:
        layer: of the Keras model; "-" for operators whose names tell none.
        operators: its kinds of operators, in the order of execution.
        on_npu: how many of its operators the NPU runs.
        on_cpu: how many it does not.
        cycles: that Vela expects of those on the NPU.
    """

    layer: str
    operators: tuple[str, ...]
    on_npu: int
    on_cpu: int
    cycles: int


@dataclass(frozen=True)
class Placement:
    """What Vela made of a file.

    Attributes:
        file: its name.
        npu: for which, one of :data:`NPUS`.
        vela: version of the compiler.
        system: clocks and memories that it assumed, by its own name.
        memory_mode: likewise, which memory holds what.
        operators: in the order of execution. One of the file may have become several.
        npu_cycles: of the NPU alone, estimated.
        total_cycles: with waiting for memory, estimated.
        clock_hz: of the NPU.
        sram_bytes: that activations take at most.
        other_memory_bytes: in DRAM and flash: weights, and what does not fit the SRAM.
        weights_bytes: as the NPU reads them, compressed.
    """

    file: str
    npu: str
    vela: str
    system: str
    memory_mode: str
    operators: tuple[PlacedOperator, ...]
    npu_cycles: int
    total_cycles: int
    clock_hz: int
    sram_bytes: int
    other_memory_bytes: int
    weights_bytes: int

    @property
    def on_npu(self) -> tuple[PlacedOperator, ...]:
        """The operators that the NPU runs."""
        return tuple(row for row in self.operators if row.on_npu)

    @property
    def on_cpu(self) -> tuple[PlacedOperator, ...]:
        """The operators that stay on the CPU."""
        return tuple(row for row in self.operators if not row.on_npu)

    @property
    def milliseconds(self) -> float:
        """That Vela expects the NPU's part to take, with waiting for memory."""
        return 1e3 * self.total_cycles / self.clock_hz

    def group_layers(self) -> list[PlacedLayer]:
        """By layer: those with operators on the CPU first, then those with most cycles."""
        groups: dict[str, list[PlacedOperator]] = {}
        for row in self.operators:
            groups.setdefault(row.layer or "-", []).append(row)
        found = [
            PlacedLayer(
                layer=layer,
                operators=tuple(dict.fromkeys(row.operator for row in rows)),
                on_npu=sum(row.on_npu for row in rows),
                on_cpu=sum(not row.on_npu for row in rows),
                cycles=sum(row.cycles for row in rows),
            )
            for layer, rows in groups.items()
        ]
        return sorted(found, key=lambda row: (-row.on_cpu, -row.cycles))

    def count_reasons(self) -> dict[tuple[str, str], int]:
        """How many operators stay on the CPU, by operator and reason, the most frequent first.

        Sizes in a reason, which differ from layer to layer, are left out.
        """
        pairs = Counter((row.operator, row.reason.rpartition(": ")[2]) for row in self.on_cpu)
        return dict(pairs.most_common())


def find_npu(name: str) -> str:
    """An NPU by its name.

    Raises:
        UnknownNameError: there is none; all that there are are listed.
    """
    if name not in NPUS:
        hint = f"There are {', '.join(NPUS)}."
        raise UnknownNameError("NPU", name, NPUS, hint)
    return name
