"""What a rewrite of a graph, TFLite or ONNX, answers where it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Declined:
    """Something looked like the pattern, and was left alone.

    Attributes:
        reason: what is different, as half a sentence.
    """

    reason: str
