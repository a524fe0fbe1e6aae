"""What a rewrite of a TFLite graph says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Changes:
    """What one step did to a graph.

    Attributes:
        count: how often it changed something.
        declined: (tensor name, reason) of what it left alone.
    """

    count: int
    declined: tuple[tuple[str, str], ...] = ()
