"""The processor's model and instruction sets, as the system tells them."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Instruction sets that kernels of neural networks are chosen by.
KERNEL_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True)
class Processor:
    """A processor by name.

    Attributes:
        model: as its maker calls it, or the machine's architecture.
        flags: instruction sets as Linux names them; empty: the system does not say.
    """

    model: str
    flags: frozenset[str]

    @property
    def kernel_flags(self) -> tuple[str, ...]:
        """Those of its instruction sets that kernels are chosen by."""
        return tuple(flag for flag in KERNEL_FLAGS if flag in self.flags)


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


def describe_kernels() -> str:
    """What decides which kernels a runtime chooses, such as "x86_64 avx2 avx512f"."""
    return " ".join((platform.machine(), *describe_processor().kernel_flags))


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
