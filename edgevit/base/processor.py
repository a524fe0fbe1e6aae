"""The processor's model and instruction sets, as the system tells them."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """A processor by name.

    Attributes:
        model: as its maker calls it, or the machine's architecture.
        flags: instruction sets as Linux names them; empty: the system does not say.
    """

    model: str
    flags: frozenset[str]


def describe_processor() -> Processor:
    """The model and instruction sets of the last processor listed in proc_cpuinfo(5), if any is."""
    model, flags = platform.processor(), ""
    with contextlib.suppress(OSError), CPUINFO.open() as stream:
        for line in stream:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = value
    return Processor(model or platform.machine(), frozenset(flags.split()))


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
