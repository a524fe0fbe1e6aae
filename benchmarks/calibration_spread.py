"""How many calibration images are enough, and what their choice is worth.

    python benchmarks/calibration_spread.py --data cifar10.tar.gz --json results/calibration.json

Integer-only int8 files of the same weights, on the same test images: over the number of calibration
images, over orders of the same images, over seeds of the draw, and over the methods that choose a
range. Files of the same bytes are classified once. Last, what `edgevit calibrate` takes: time from
shell to file, and peak memory of the whole process.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from export_cost import EDGEVIT, run
from report import to_json

from edgevit.bench.environment import describe_environment
from edgevit.core.target import Format, find_target
from edgevit.data.calibration import CalibrationSample, sample_images
from edgevit.data.datasets import ImageDataset, find_source, load_dataset
from edgevit.formats.calibration import CALIBRATION_IMAGES, calibrate
from edgevit.formats.registry import open_session
from edgevit.formats.tflite.writer.convert import export_tflite
from edgevit.frontend.opening import load_test, open_source
from edgevit.frontend.record_reference import float_logits
from edgevit.frontend.source import ExportOptions, Source
from edgevit.quantization.clipping import METHODS
from edgevit.quantization.ranges import RangeRecord
from edgevit.verification.parity import find_output, run_all


@dataclass
class Scores:
    """Accuracy of int8 files, each classified once.

    Attributes:
        source: the float model.
        tests: what is classified.
        known: (top-1 in percent, sha256) by the digest of the record's ranges.
    """

    source: Source
    tests: ImageDataset
    known: dict[str, tuple[float, str]] = field(default_factory=dict)

    def of(self, record: RangeRecord) -> tuple[float, str]:
        """(top-1 in percent, sha256 of the file) of the int8 file that a record leads to."""
        target, key = find_target("tflite-int8"), str(sorted(record.ranges.items()))
        if key not in self.known:
            content, _ = export_tflite(self.source, target, ExportOptions(), record)
            with tempfile.TemporaryDirectory() as place:
                path = Path(place) / "int8.tflite"
                path.write_bytes(content)
                with open_session(path) as session:
                    logits = run_all(
                        lambda images: find_output(session.run(images), "logits", session),
                        self.tests.images,
                    )
            top1 = 100 * float((logits.argmax(axis=1) == self.tests.labels).mean())
            self.known[key] = top1, hashlib.sha256(content).hexdigest()
        return self.known[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shiftvit")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--limit", type=int, help="test images; default: all")
    parser.add_argument("--sizes", default="32,100,300,500,1000")
    parser.add_argument("--repeats", type=int, default=10, help="orders, and seeds")
    parser.add_argument("--images", type=int, default=CALIBRATION_IMAGES, help="for the repeats")
    parser.add_argument("--cost-images", type=int, default=500, help="for time and memory")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    data = find_source(options.data)
    source = open_source(options.model)
    train = load_dataset(data, "train", source.preprocess.input_size)
    tests = load_test(data, source.preprocess, source.class_names, options.limit)
    logits = run_all(lambda images: float_logits(source, images), tests.images)
    top1 = 100 * float((logits.argmax(axis=1) == tests.labels).mean())
    print(f"{options.model}: {len(tests):,} test images, float Keras {top1:.2f} %", flush=True)
    scores = Scores(source, tests)
    found: dict[str, Any] = {"float": top1, "test_images": len(tests), "images": options.images}

    found["sizes"] = {}
    for size in map(int, options.sizes.split(",")):
        score, _ = scores.of(measure(source, sample_images(train, size)))
        found["sizes"][size] = score
        print(f"{size:6} images       {score:6.2f} %  {score - top1:+.2f}", flush=True)

    sample = sample_images(train, options.images)
    found["orders"] = [
        scores.of(measure(source, reordered(sample, number))) for number in range(options.repeats)
    ]
    show("orders", found["orders"])
    found["seeds"] = [
        scores.of(measure(source, sample_images(train, options.images, seed)))
        for seed in range(options.repeats)
    ]
    show("seeds", found["seeds"])

    record = calibrate(Format.TFLITE, source, ExportOptions(), sample, histograms=True)
    found["methods"] = {}
    for method in METHODS:
        score, _ = scores.of(replace(record.clipped(method), histograms={}))
        found["methods"][method] = score
        print(f"{method:12}        {score:6.2f} %  {score - top1:+.2f}", flush=True)

    found["cost"] = cost(options.model, data, options.cost_images)
    print(f"{options.cost_images} images: {found['cost']}")
    if options.json:
        found["environment"] = describe_environment()
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(found, indent=1) + "\n")


def measure(source: Source, sample: CalibrationSample) -> RangeRecord:
    """Extremes alone: min-max ranges."""
    return calibrate(Format.TFLITE, source, ExportOptions(), sample)


def reordered(sample: CalibrationSample, seed: int) -> CalibrationSample:
    """The same images in another order."""
    order = np.random.default_rng(seed).permutation(len(sample.images))
    return replace(sample, images=sample.images[order])


def show(name: str, found: list[tuple[float, str]]) -> None:
    """One line over repeats."""
    values = [score for score, _ in found]
    files = len({digest for _, digest in found})
    print(
        f"{len(found)} {name}: {min(values):.2f} .. {max(values):.2f} %, spread "
        f"{max(values) - min(values):.2f}, deviation {np.std(values):.3f}, {files} different files",
        flush=True,
    )


def cost(model: str, data: str | Path, images: int) -> dict[str, float]:
    """Wall time and peak memory of the command, for TFLite."""
    with tempfile.TemporaryDirectory() as place:
        command = [EDGEVIT, "calibrate", model, "--data", str(data), "--format", "tflite"]
        command += ["--images", str(images), "--out", str(Path(place) / "ranges.json")]
        seconds, mebibytes, _ = run(command)
    return {"seconds": round(seconds, 1), "peak_mib": round(mebibytes)}


if __name__ == "__main__":
    main()
