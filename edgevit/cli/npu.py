"""The text of ``edgevit inspect --npu``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit.cli import console

if TYPE_CHECKING:
    from edgevit.formats.ethos_u.placement import Placement

MOST = 20  # rows of a table; --json lists all


def show_placement(file: Path, npu: str, as_json: bool) -> None:
    """Compiles a file for an NPU and tells what runs where."""
    from edgevit.formats.ethos_u.vela import compile_for_npu
    from edgevit.formats.registry import refuse_damage

    refuse_damage(file)
    found = compile_for_npu(file, npu)
    document = {
        **asdict(found),
        "operators_on_npu": len(found.on_npu),
        "operators_on_cpu": len(found.on_cpu),
        "milliseconds": found.milliseconds,
    }
    console.answer(document, as_json, lambda: _text(found))


def _text(found: Placement) -> str:
    lines = [console.table(_show_layers(found), words=("layer", "operators"))]
    lines += [
        f"on the CPU:   {count} {operator} ({reason})"
        for (operator, reason), count in found.count_reasons().items()
    ]
    where = f"{found.npu} (Vela {found.vela}, {found.system}, {found.memory_mode})"
    lines += [
        f"operators:    {len(found.on_npu)} on the NPU, {len(found.on_cpu)} on the CPU",
        f"cycles:       {found.npu_cycles:,} of the NPU, {found.total_cycles:,} with waiting for "
        f"memory: {found.milliseconds:.2f} ms at {found.clock_hz / 1e6:,.0f} MHz, estimated",
        f"memory:       {found.sram_bytes / 1e3:,.1f} kB SRAM, "
        f"{found.other_memory_bytes / 1e3:,.1f} kB flash or DRAM, "
        f"{found.weights_bytes / 1e3:,.1f} kB of it weights",
        f"compiled for: {where}",
    ]
    if found.on_cpu:
        lines.append("next:         --format tflite-int8-npu writes means and resizes as products")
    return "\n".join(lines)


def _show_layers(found: Placement) -> list[dict[str, str]]:
    """A row a layer."""
    return [
        {
            "layer": row.layer,
            "operators": ", ".join(row.operators),
            "NPU": str(row.on_npu),
            "CPU": str(row.on_cpu),
            "cycles": f"{row.cycles:,}",
        }
        for row in found.group_layers()[:MOST]
    ]
