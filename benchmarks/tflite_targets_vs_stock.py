"""Every TFLite target of ours against TFLiteConverter's int8 of the same Keras model, per network.

The stock file is that of tflite_int8_vs_stock.py. All are calibrated on the same images (training
images where EDGEVIT_DATA names them, else drawn ones), take raw images and run on one thread, in
turns in random order.

    python benchmarks/tflite_targets_vs_stock.py shiftvit runs/vit --rounds 200 --json results.json
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from report import parse_options, publish
from tflite_int8_vs_stock import IMAGES, open_candidates, write_stock

import edgevit
from edgevit.base.errors import EdgevitError
from edgevit.bench.measure import Samples, measure_interleaved
from edgevit.core.golden_images import draw_images
from edgevit.core.target import find_target
from edgevit.data.calibration import sample_source
from edgevit.frontend.opening import open_source
from edgevit.verbs.export import Budget

TARGETS = (
    "tflite-float32",
    "tflite-dynamic",
    "tflite-mixed",
    "tflite-int8",
    "tflite-dynamic-int4",
    "tflite-int16x8",
)


def main() -> None:
    options = parse_options(__doc__.split("\n\n")[0], add_options)
    latency: dict[str, tuple[int, ...]] = {}
    notes: dict[str, str] = {}
    for model in options.models:
        measure_model(model, options, latency, notes)
    reference = next(name for name in latency if name.endswith("stock int8"))
    publish(Samples(latency), reference, notes, options.json)
    print_ratios(Samples(latency))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="shipped, or a run's folder")
    parser.add_argument("--targets", default=",".join(TARGETS), help="with commas between")
    parser.add_argument("--images", type=int, default=IMAGES, help="for calibration")
    parser.add_argument("--keep", type=Path, help="folder for the files; what is there is reused")
    parser.add_argument("--max-drop", type=float, help="budget of tflite-mixed; needs EDGEVIT_DATA")


def measure_model(model: str, options: argparse.Namespace, latency: dict, notes: dict) -> None:
    """Adds the samples of all files of one network."""
    source = open_source(model)
    data, size, count = os.environ.get("EDGEVIT_DATA"), source.preprocess.input_size, options.images
    images = sample_source(data, size, count).images if data else draw_images(count, size)
    name = source.name
    with tempfile.TemporaryDirectory() as place:
        folder = (options.keep or Path(place)) / name
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{name}: exporting", flush=True)
        stock = folder / "stock.tflite"
        if not stock.exists():
            write_stock(stock, images, True, model)
        files = {f"{name} stock int8": stock}
        for target in options.targets.split(","):
            label = f"{name} {target.removeprefix('tflite-')}"
            path = folder / find_target(target).file_name(name)
            if not path.exists():
                try:
                    export_target(model, target, folder, images, options, notes, label)
                except EdgevitError as error:
                    notes[label] = f"not there: {error}"
                    continue
            files[label] = path
        candidates, inside = open_candidates(files, images[:1])
        notes.update(inside)
        print(f"{name}: measuring", flush=True)
        latency.update(measure_interleaved(candidates, options.rounds).latency_ns)


def export_target(model, target, folder, images, options, notes, label) -> None:
    """Writes one file of ours, also where its verdict is fail; says how it went."""
    budget = None
    if options.max_drop is not None and target == "tflite-mixed":
        budget = Budget(options.max_drop, os.environ.get("EDGEVIT_DATA") or "")
    outcome = edgevit.export(
        model, target, folder, calibration=images, keep_failed=True, budget=budget
    )
    print(f"{label}: {outcome.verdict}", flush=True)
    if outcome.search:
        notes[f"{label}, search"] = (
            f"{outcome.search.drop}, {outcome.search.drop.interval()}, "
            f"{outcome.search.evaluations} evaluations"
        )


def print_ratios(samples: Samples) -> None:
    """Each network's files against its stock int8 and its own dynamic file."""
    print(f"{'file':36} {'to stock int8':>14} {'to dynamic':>12}")
    for label in samples.latency_ns:
        name = label.split(" ")[0]
        cells = []
        for other in ("stock int8", "dynamic"):
            against = f"{name} {other}"
            known = against in samples.latency_ns
            cells.append(f"{samples.ratio(label, against)[0]:.3f}" if known else "-")
        print(f"{label:36} {cells[0]:>14} {cells[1]:>12}")


if __name__ == "__main__":
    main()
