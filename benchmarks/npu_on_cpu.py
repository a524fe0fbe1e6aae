"""What tflite-int8-npu costs beside tflite-int8 where a CPU runs both: accuracy, or latency.

    python benchmarks/npu_on_cpu.py --json benchmarks/results/npu_accuracy.json
    python benchmarks/npu_on_cpu.py --latency --json benchmarks/results/npu_latency.json

Both files are written from the shipped weights and run in LiteRT. Accuracy is that of the same test
images, and its difference has a 95 % interval (bootstrap over images). Latency is that of one
thread, each file in a process of its own, in interleaved rounds: medians, and the ratio of paired
rounds with its interval; run it while nothing else runs. Rows that the JSON file holds, of the same
code, are not made again.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from npu_placement import TARGETS, write_files
from provenance import read_rows, result_path, write_result

from edgevit.base.errors import RuntimeFailure
from edgevit.base.statistics import PairedDrop
from edgevit.data.datasets import ImageDataset, find_source, limit_images, load_dataset
from edgevit.formats.registry import load_session
from edgevit.models.shipped import list_shipped
from edgevit.verbs.benchmark import benchmark
from edgevit.verification.parity import find_output, run_all

PLAIN, NPU = TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(list_shipped()), help="commas between")
    parser.add_argument("--latency", action="store_true", help="times instead of accuracy")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each file, for --latency")
    parser.add_argument("--images", type=int, help="only so many of the test images")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--folder", type=Path, help="keeps files; those there are not written anew")
    parser.add_argument("--json", type=result_path, help="where to write the rows")
    options = parser.parse_args()
    rows = read_rows(options.json)
    done = {row["network"] for row in rows}
    for name in (name for name in options.models.split(",") if name not in done):
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            files = write_files(name, options.data, folder, TARGETS)
            if options.latency:
                row = time_files(files, options.rounds)
            else:
                row = score_files(files, find_source(options.data), options.images)
        rows.append({"network": name, **row})
        print(show(rows[-1]), flush=True)
        if options.json:
            write_result(options.json, {"rows": rows}, [row["network"] for row in rows])


def score_files(files: dict[str, Path], data: str, count: int | None) -> dict[str, Any]:
    """Top-1 of both on the same test images, and what the second loses."""
    dataset = load_images(files[PLAIN], data, count)
    logits = {kind: classify(path, dataset.images) for kind, path in files.items()}
    classes = {kind: np.argmax(found, axis=-1) for kind, found in logits.items()}
    right = {kind: found == dataset.labels for kind, found in classes.items()}
    lost = PairedDrop.of(right[PLAIN], right[NPU]).interval()
    return {
        "images": len(dataset),
        "source": dataset.source,
        "top1": {kind: 100 * float(np.mean(found)) for kind, found in right.items()},
        "difference": [0 - lost.middle, 0 - lost.high, 0 - lost.low],
        "same_class": float(np.mean(classes[PLAIN] == classes[NPU])),
        "same_logits": float(np.mean(logits[PLAIN] == logits[NPU])),
    }


def load_images(path: Path, data: str, count: int | None) -> ImageDataset:
    """Test images in the size that a file takes."""
    with load_session(path) as session:
        rows, columns = session.inputs[0].shape[1:3]
    dataset = load_dataset(data, "test", (rows, columns))
    return limit_images(dataset, count) if count else dataset


def classify(path: Path, images: np.ndarray) -> np.ndarray:
    """float32 N classes."""
    with load_session(path) as session:
        return run_all(lambda some: find_output(session.run(some), "logits", path), images)


def time_files(files: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Medians of both on one thread, the ratio of the second to the first, and what they are of.

    Raises:
        RuntimeFailure: LiteRT refused a file.
    """
    found = benchmark([files[kind] for kind in TARGETS], rounds=rounds)
    ratio = found.ratio(found.rows[1])
    if ratio is None:
        raise RuntimeFailure("; ".join(str(row.failure) for row in found.rows))
    sides = dict(zip(TARGETS, found.rows, strict=True))
    return {
        "rounds": rounds,
        "median_ms": {kind: list(astuple(row.median_ms)) for kind, row in sides.items()},
        "ratio": list(astuple(ratio)),
        "round_medians_ns": {kind: row.round_medians_ns for kind, row in sides.items()},
        "warnings": list(found.warnings),
    }


def show(row: dict[str, Any]) -> str:
    """A row as a line."""
    if "ratio" in row:
        middle, low, high = row["ratio"]
        figures = [f"{row['median_ms'][kind][0]:8.3f} ms" for kind in TARGETS]
        end = f"ratio {middle:.3f} ({low:.3f} to {high:.3f})"
    else:
        middle, low, high = row["difference"]
        figures = [f"{row['top1'][kind]:6.2f} %" for kind in TARGETS]
        end = f"{middle:+.2f} points ({low:+.2f} to {high:+.2f}), {row['images']:,} images"
    return f"{row['network']:18} {PLAIN} {figures[0]}, {NPU} {figures[1]}, {end}"


if __name__ == "__main__":
    main()
