"""Recordings of a runtime's own profiler, whichever runtime it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
Plain = TypeVar("Plain")
Profiled = TypeVar("Profiled")


@dataclass(frozen=True)
class Recording(Generic[Row]):
    """Times of the parts of a graph, and of whole runs with and without the profiler.

    Attributes:
        rows: kernels or nodes, in the order in which they ran.
        profiled_us: whole runs with the profiler on.
        plain_us: whole runs of a second instance without it, in turns with the others.
    """

    rows: tuple[Row, ...]
    profiled_us: tuple[float, ...]
    plain_us: tuple[float, ...]


def take_turns(
    plain: Callable[[], Plain], profiled: Callable[[], Profiled], runs: int, warmup: int
) -> tuple[list[Plain], list[Profiled]]:
    """Calls both in turns, so that both meet the same disturbances; results of the last runs."""
    pairs = [(plain(), profiled()) for _ in range(warmup + runs)][warmup:]
    return [first for first, _ in pairs], [second for _, second in pairs]
