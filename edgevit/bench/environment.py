"""The machine and the tools behind a measurement."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from edgevit.base.processor import count_cores, describe_processor
from edgevit.base.versions import tool_versions
from edgevit.core.measurements import Environment
from edgevit.formats.registry import RUNTIMES

TOOLS = ("numpy", "keras", "tf2onnx", *dict.fromkeys(row.package for row in RUNTIMES.values()))
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_IDENTITIES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def describe_environment(device: str = "") -> Environment:
    """CPU model, instruction sets that matter here, cores, governor and versions.

    Args:
        device: name of the accelerator that was used.
    """
    processor = describe_processor()
    return Environment(
        cpu=processor.model,
        instruction_sets=processor.kernel_flags,
        cores=count_cores(),
        memory_bytes=_memory(),
        system=platform.system(),
        machine=platform.machine(),
        governor=_read(_GOVERNOR),
        host=_host(),
        device=device,
        versions=tool_versions(*TOOLS),
    )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _host() -> str:
    """A digest, so that the machine can be told from others without being named."""
    identity = next((text for text in map(_read, _IDENTITIES) if text), None) or platform.node()
    return hashlib.sha256(f"edgevit {identity}".encode()).hexdigest()[:16]


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
