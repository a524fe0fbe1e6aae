"""Levels of a tensor, from numbers."""

from __future__ import annotations

import numpy as np

from edgevit.formats.intermediate import Levels


def levels(step: float, end: float = np.inf) -> Levels:
    """Levels as far as an end on either side."""
    return Levels(*(np.array([value]) for value in (step, -end, end)))
