"""What a runtime's own profiler said, whichever runtime it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")


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
