"""Calibration samples at hand while a file is written: to learn from, and to judge the file by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevit.base.progress import Status
from edgevit.quantization.ranges import RangeRecord

Inputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Trial:
    """Samples in two parts, of which none is in both.

    Attributes:
        learnt: raw inputs, N ... by name, that statistics are taken of.
        judged: likewise, that forms of a file are compared on.
        say: told what is being done.
        kept: what was measured on them already, since several targets start from the same graph; by
            whatever the writer chooses as a key.
    """

    learnt: Inputs
    judged: Inputs
    say: Status
    kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class TriedRecord(RangeRecord):
    """A record whose samples are still at hand. In a file it is a record like any other.

    Attributes:
        trial: the samples.
    """

    trial: Trial | None = field(default=None, repr=False, compare=False)


def trial_of(record: RangeRecord) -> Trial | None:
    """The samples behind a record; None where they are not at hand."""
    return record.trial if isinstance(record, TriedRecord) else None
