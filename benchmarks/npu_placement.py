"""Where operators run on Arm's Ethos-U, as Vela tells: ours and TFLiteConverter's int8.

For each network three files of the same weights, calibrated on training images: `tflite-int8`,
`tflite-int8-npu` and what TFLiteConverter makes; for each file and NPU the operators on the NPU and
on the CPU with Vela's reasons, cycles and memory. Networks are those that ship, and MobileNetV2 of
keras.applications at 96x96 with seeded weights (see networks_vs_stock.py). Files are written and
not verified: other scripts do that. Cycles are Vela's estimates, so the machine may be busy.

    python benchmarks/npu_placement.py --json benchmarks/results/npu_placement.json

Rows that the JSON file holds, of the same code, are not made again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from networks_vs_stock import APPLICATIONS, build_application
from provenance import read_rows, result_path, write_result
from tflite_vs_stock import STOCK, write_stock

from edgevit.base.errors import in_one_line
from edgevit.base.loading import load_attribute
from edgevit.core.target import Target
from edgevit.data.calibration import sample_source
from edgevit.data.datasets import find_source
from edgevit.formats.calibration import CALIBRATION_IMAGES, calibrate
from edgevit.formats.ethos_u.placement import Placement
from edgevit.formats.ethos_u.vela import compile_for_npu
from edgevit.formats.options import choose_options
from edgevit.formats.registry import find_target
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source
from edgevit.models.shipped import list_shipped

TARGETS = ("tflite-int8", "tflite-int8-npu")
NPUS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
APPLICATION = "MobileNetV2"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join([*list_shipped(), APPLICATION]))
    parser.add_argument("--npus", default=",".join(NPUS), help="commas between")
    parser.add_argument("--data", help="training images; default: $EDGEVIT_DATA")
    parser.add_argument("--folder", type=Path, help="keeps files; those there are not written anew")
    parser.add_argument("--json", type=result_path, help="where to write the rows")
    options = parser.parse_args()
    rows = read_rows(options.json)
    done = {row["network"] for row in rows}
    for name in (name for name in options.models.split(",") if name not in done):
        with tempfile.TemporaryDirectory() as temporary:
            files = write_files(name, options.data, options.folder or Path(temporary))
            for npu in options.npus.split(","):
                for kind, path in files.items():
                    rows.append({"network": name, "file": kind, **describe(path, npu)})
                    print(show(rows[-1]), flush=True)
        if options.json:
            write_result(options.json, {"rows": rows}, list_weights(rows))


def list_weights(rows: list[dict[str, Any]]) -> list[str]:
    """Names of networks whose weights ship."""
    return sorted({row["network"] for row in rows} - {*APPLICATIONS})


def write_files(
    name: str, data: str | None, folder: Path, kinds: Sequence[str] = (*TARGETS, STOCK)
) -> dict[str, Path]:
    """The files of a network, by what wrote them."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace(":", "-")
    files = {kind: folder / f"{stem}-{kind}.tflite" for kind in kinds}
    missing = [kind for kind, path in files.items() if not path.exists()]
    if missing:
        ours = name not in APPLICATIONS
        source = open_source(name if ours else build_application(name, data))
        sample = sample_source(find_source(data), source.picture_size, CALIBRATION_IMAGES)
        for kind in missing:
            if kind == STOCK:
                write_stock(source, sample.images, files[kind])
            else:
                write_ours(source, find_target(kind), sample, files[kind])
    return files


def write_ours(source: Source, target: Target, sample: Any, path: Path) -> None:
    """A file as an export lowers it, with the ranges that ship or those of a sample."""
    options = choose_options([target], {})[target.format]
    ranges = source.ranges.get(target.format) or calibrate(target.format, source, options, sample)
    written = load_attribute(target.write)(source, options, ranges, path)
    written.finish({})


def describe(path: Path, npu: str) -> dict[str, Any]:
    """What Vela makes of a file."""
    found: Placement = compile_for_npu(path, npu)
    return {
        "npu": npu,
        "vela": found.vela,
        "system": found.system,
        "memory_mode": found.memory_mode,
        "on_npu": len(found.on_npu),
        "on_cpu": len(found.on_cpu),
        "reasons": [
            {"operator": operator, "reason": in_one_line(reason), "count": count}
            for (operator, reason), count in found.count_reasons().items()
        ],
        "npu_cycles": found.npu_cycles,
        "total_cycles": found.total_cycles,
        "sram_bytes": found.sram_bytes,
        "weights_bytes": found.weights_bytes,
    }


def show(row: dict[str, Any]) -> str:
    """A row as a line."""
    return (
        f"{row['network']:18} {row['npu']:14} {row['file']:16} {row['on_cpu']:4} on the CPU "
        f"{row['npu_cycles']:12,} NPU cycles {row['total_cycles']:12,} with memory"
    )


if __name__ == "__main__":
    main()
