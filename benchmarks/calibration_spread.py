"""How many calibration images are enough, and what their choice and the method are worth.

    python benchmarks/calibration_spread.py --json benchmarks/results/calibration.json

Integer-only int8 files of the same weights on the same test images: over the number of calibration
images, over seeds of the draw, and over the methods that choose a range.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from provenance import result_path, write_result

from edgevit.core.format import Format
from edgevit.data.calibration import sample_images
from edgevit.data.datasets import ImageDataset, find_source, load_dataset
from edgevit.data.evaluation import load_test
from edgevit.formats.calibration import CALIBRATION_IMAGES, calibrate
from edgevit.formats.registry import open_session
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.formats.tflite.writer.convert import write_int8
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.source import Source
from edgevit.quantization.clipping import METHODS
from edgevit.quantization.ranges import RangeRecord
from edgevit.verification.parity import find_output, run_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shiftvit", help="as `edgevit models` calls it")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--sizes", default="32,100,300,500,1000", help="commas between")
    parser.add_argument("--seeds", type=int, default=10, help="draws of the usual number of images")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    options = parser.parse_args()
    data = find_source(options.data)
    source = open_source(options.model)
    train = load_dataset(data, "train", source.preprocess.input_size)
    tests = load_test(data, source.preprocess.input_size, source.class_names, None)
    logits = run_all(lambda images: float_outputs(source, images)["logits"], tests.images)

    def record(images: int, seed: int = 0, histograms: bool = False) -> RangeRecord:
        sample = sample_images(train, images, seed)
        return calibrate(Format.TFLITE, source, TfliteOptions(), sample, histograms=histograms)

    def tell(name: str, ranges: RangeRecord) -> float:
        top1 = score_int8(source, ranges, tests)
        print(f"{name}: {top1:.2f} %", flush=True)
        return top1

    full = record(CALIBRATION_IMAGES, histograms=True)
    found = {
        "float": 100 * float((logits.argmax(axis=1) == tests.labels).mean()),
        "test_images": len(tests),
        "images": CALIBRATION_IMAGES,
        "sizes": {
            size: tell(f"{size} images", record(int(size))) for size in options.sizes.split(",")
        },
        "seeds": [
            tell(f"seed {seed}", record(CALIBRATION_IMAGES, seed)) for seed in range(options.seeds)
        ],
        "methods": {
            method: tell(method, replace(full.clipped(method), histograms={})) for method in METHODS
        },
    }
    if options.json:
        write_result(options.json, found, [options.model])


def score_int8(source: Source, record: RangeRecord, tests: ImageDataset) -> float:
    """Top-1 in percent of the int8 file that a record of ranges leads to."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.tflite"
        write_int8(source, TfliteOptions(), record, path).finish({})
        with open_session(path) as session:
            logits = run_all(
                lambda images: find_output(session.run(images), "logits", session), tests.images
            )
    return 100 * float((logits.argmax(axis=1) == tests.labels).mean())


if __name__ == "__main__":
    main()
