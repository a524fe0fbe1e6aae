"""Which integer-only files run in TensorFlow Lite Micro, how exactly, and in how much memory.

Every architecture as tflite-int8, as it is exported and with ``--micro``: which operators have no
kernel there; whether it runs; whether its answers equal those of LiteRT's reference kernels bit for
bit, on drawn images; bytes of the arena and of the file. ShiftViT has the shipped weights, the
others those of a training run (``--runs``) or seeded ones: neither the operators nor the arena
depend on them.

    python benchmarks/tflm_table.py --json benchmarks/results/tflm.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from report import describe_environment, to_json

from edgevit.base.errors import RuntimeFailure
from edgevit.core.golden_images import draw_images
from edgevit.core.target import Format, find_target
from edgevit.formats.registry import import_runtime, load_session
from edgevit.formats.tflite.runtime.tflm import missing_ops

MODELS = "shiftvit,patchconvnet,focalnet,vit,gcvit"
CALIBRATED = 8  # drawn images, where no ranges ship with the weights
TARGET = find_target("tflite-int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default=MODELS, help="commas between")
    parser.add_argument("--images", type=int, default=4, help="compared bit for bit")
    parser.add_argument("--runs", type=Path, help="folder of training runs, one a model")
    parser.add_argument("--json", type=Path, help="where to write the table")
    options = parser.parse_args()
    import_runtime("tflm")
    rows = []
    for name in options.models.split(","):
        for row in measure_model(name, options.runs, options.images):
            rows.append(row)
            print_row(row)
    if options.json:
        document = {"images": options.images, "rows": rows, "environment": describe_environment()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(document, indent=1) + "\n")


def measure_model(name: str, runs: Path | None, count: int):
    """One row for each of the two files of an architecture."""
    from edgevit.formats.exporters import EXPORTERS
    from edgevit.frontend.source import ExportOptions

    source, weights = read_source(name, runs)
    ranges = source.ranges or draw_ranges(source)
    images = draw_images(count, source.preprocess.input_size, seed=5)
    with tempfile.TemporaryDirectory() as place:
        for micro in (False, True):
            path = Path(place) / f"{name}{'-micro' if micro else ''}.tflite"
            settings = ExportOptions(micro=micro)
            data, _ = EXPORTERS[TARGET.format](source, TARGET, settings, ranges, path)
            path.write_bytes(data)
            row = {"model": name, "micro": micro, "weights": weights, "size_bytes": len(data)}
            yield {**row, **run_file(path, images)}


def run_file(path: Path, images: np.ndarray) -> dict:
    """What TensorFlow Lite Micro makes of a file."""
    missing = missing_ops(path)
    nothing = {"runs": False, "identical": None, "arena_bytes": None, "reason": None}
    if missing:
        return {"missing": missing, **nothing}
    try:
        with load_session(path, "micro") as session:
            found, arena = session.run(images), session.arena_bytes
    except RuntimeFailure as error:
        reason = str(error).replace(str(path), path.name)
        return {"missing": missing, **nothing, "reason": reason}
    with load_session(path, "reference") as session:
        wanted = session.run(images)
    spread = max(np.ptp(wanted["logits"]), 1e-9)
    largest = float(np.abs(found["logits"] - wanted["logits"]).max() / spread)
    identical = all(np.array_equal(found[key], wanted[key]) for key in wanted)
    result = {"runs": True, "identical": identical, "arena_bytes": arena, "reason": None}
    return {"missing": missing, **result, "largest_difference": largest}


def read_source(name: str, runs: Path | None):
    """(source, where its weights are from)."""
    import keras

    from edgevit.base.errors import EdgevitError
    from edgevit.frontend.opening import open_source
    from edgevit.frontend.source import Source
    from edgevit.models.build import build_plan, plan_model

    if runs and (runs / name).exists():
        return open_source(runs / name), "trained"
    try:
        return open_source(name), "shipped"
    except EdgevitError:  # no weights ship with it
        keras.utils.set_random_seed(0)
        plan = plan_model(name)
        return Source(name, build_plan(plan), plan.preprocess, (), "0" * 64), "seeded"


def draw_ranges(source):
    """Activation ranges of drawn images."""
    from edgevit.data.calibration import CalibrationSample
    from edgevit.formats.calibration import calibrate
    from edgevit.frontend.source import ExportOptions

    size = source.preprocess.input_size
    images = draw_images(CALIBRATED, size, seed=9)
    sample = CalibrationSample.of_array(images, size, "drawn")
    return calibrate(Format.TFLITE, source, ExportOptions(), sample)


def print_row(row: dict) -> None:
    kind = "--micro" if row["micro"] else "as it is"
    if row["runs"]:
        same = "bit-identical" if row["identical"] else "not identical"
        text = f"runs, {same}, arena {row['arena_bytes'] / 1e3:,.0f} kB"
    else:
        listed = ", ".join(f"{count} {op}" for op, count in row["missing"].items())
        text = f"no kernel for {listed}" if listed else row["reason"]
    print(f"{row['model']:14} {kind:9} {row['weights']:8} {text}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
