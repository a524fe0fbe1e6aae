"""Compiles a TFLite file for an Ethos-U with Vela, and reads what Vela tells of it.

Source: Arm, "Vela compiler", package ethos-u-vela: a summary and a table of
operators in CSV files, and on its output the reason for each operator that stays on the CPU. Cycles
are estimates of the compiler for its default system of each NPU, no measurements. Vela runs in a
process of its own: it prints, and exits where a file is damaged.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgevit.base.errors import ModelFileError, RuntimeFailure, in_one_line
from edgevit.base.packages import Need, require
from edgevit.base.versions import installed_version
from edgevit.formats.ethos_u.placement import PlacedOperator, Placement, find_npu
from edgevit.formats.layer_names import layers_of_tensors

NEEDS = (Need("ethosu", "npu"),)
LIMIT_S = 600.0
_MAIN = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"
_REASON = re.compile(
    r"operator: \w+, ofm: '(?P<name>.*?)'\n *-? ?Reason: (?P<reason>.*?)(?:\n\n|\Z)", re.S
)
_FAILURE = re.compile(r"^(?:\w+Error|Error)\b.*", re.M)
KIB = 1024


def compile_for_npu(
    path: Path, npu: str, folder: Path | None = None, content: bytes | None = None
) -> Placement:
    """Compiles a file and tells where each of its operators runs.

    Args:
        path: a .tflite file.
        npu: a name of :data:`edgevit.formats.ethos_u.placement.NPUS`.
        folder: where the compiled file is to stay, as ``NAME_vela.tflite``, with Vela's tables;
            None: nowhere.
        content: compiled instead of what the file holds.

    Raises:
        UnknownNameError: no such NPU.
        MissingDependencyError: Vela is not installed.
        ModelFileError: the file is damaged, or computes in floats throughout.
        RuntimeFailure: Vela fails, or takes too long.
    """
    find_npu(npu)
    if path.suffix != ".tflite":
        raise ModelFileError(
            f"{path}: an Ethos-U runs TFLite files alone. Export one with --format tflite-int8-npu."
        )
    require(f"Compiling for {npu}", NEEDS)
    with tempfile.TemporaryDirectory() as temporary:
        place, source = folder or Path(temporary), path
        if content is not None:
            source = Path(temporary) / path.name
            source.write_bytes(content)
        printed = _run_vela(path, source, npu, place)
        found = _read_placement(path, npu, place, _read_reasons(printed))
    if not found.on_npu:
        raise ModelFileError(
            f"{path}: none of its {len(found.operators)} operators can run on {npu}, since they "
            "compute in floats. Export it with --format tflite-int8-npu."
        )
    return found


def _run_vela(path: Path, source: Path, npu: str, place: Path) -> str:
    options = ["--accelerator-config", npu, "--output-dir", str(place), "--verbose-performance"]
    command = [sys.executable, "-c", _MAIN, str(source.resolve()), *options]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, cwd=place, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeFailure(f"{path}: Vela has not finished after {LIMIT_S:.0f} s.") from None
    if ran.returncode or not list(place.glob("*_per-layer.csv")):
        said = _FAILURE.findall(ran.stdout + ran.stderr)
        why = in_one_line(said[-1] if said else f"exit code {ran.returncode}", 200)
        raise RuntimeFailure(f"{path}: Vela cannot compile it for {npu} ({why}).")
    return ran.stdout


def _read_reasons(printed: str) -> dict[str, str]:
    """Why an operator stays on the CPU, by the name of the tensor that it computes."""
    return {
        match["name"]: in_one_line(match["reason"].replace("\n", ": ", 1), 300)
        for match in _REASON.finditer(printed)
    }


def _read_placement(path: Path, npu: str, place: Path, reasons: Mapping[str, str]) -> Placement:
    rows = _read_csv(place, "*_per-layer.csv")
    (summary,) = _read_csv(place, "*_summary_*.csv")
    layers = layers_of_tensors([row["Name"] for row in rows])
    operators = tuple(
        PlacedOperator(
            operator=row["Original Operator"],
            tensor=row["Name"],
            layer=layer,
            on_npu=row["Target"] == "NPU",
            cycles=round(float(row["Op Cycles"])),
            reason="" if row["Target"] == "NPU" else reasons.get(row["Name"], "not told by Vela"),
        )
        for row, layer in zip(rows, layers, strict=True)
    )
    return Placement(
        file=path.name,
        npu=npu,
        vela=installed_version("ethos-u-vela") or "",
        system=summary["system_config"],
        memory_mode=summary["memory_mode"],
        operators=operators,
        npu_cycles=round(float(summary["cycles_npu"])),
        total_cycles=round(float(summary["cycles_total"])),
        clock_hz=round(float(summary["core_clock"])),
        sram_bytes=round(float(summary["sram_memory_used"]) * KIB),
        other_memory_bytes=sum(
            round(float(summary[f"{kind}_memory_used"]) * KIB)
            for kind in ("dram", "on_chip_flash", "off_chip_flash")
        ),
        weights_bytes=round(float(summary["total_npu_encoded_weights"])),
    )


def _read_csv(place: Path, pattern: str) -> list[dict[str, str]]:
    (path,) = place.glob(pattern)
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
