"""The machine and the tools behind a measurement."""

from __future__ import annotations

import contextlib
import os
import platform
from typing import Any

from edgevit.core.versions import tool_versions

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def describe_environment() -> dict[str, Any]:
    """CPU model, instruction sets that matter here, cores and versions."""
    model, flags = platform.processor(), ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as stream:
        for line in stream:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = value
    return {
        "cpu": model,
        "instruction_sets": [flag for flag in FLAGS if flag in flags.split()],
        "cores": os.cpu_count(),
        "system": platform.system(),
        "machine": platform.machine(),
        "versions": tool_versions(
            "tensorflow", "keras", "ai-edge-litert", "onnxruntime", "tf2onnx"
        ),
    }
