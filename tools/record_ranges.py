"""Measures the activation ranges that ship with a model's weights, for TFLite and for ONNX.

    python tools/record_ranges.py shiftvit --data cifar10-jpeg.tar.gz --format onnx
    python tools/write_registry.py

Needed after a change of the exporter that moves factors into weights or renames layers: int8
exports then say that the shipped ranges belong to another graph.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

from edgevit.base.files import write_whole
from edgevit.core.format import Format
from edgevit.data.calibration import sample_source
from edgevit.formats.calibration import CALIBRATION_IMAGES, calibrate
from edgevit.formats.options import build_options
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source
from edgevit.models.shipped import ARTIFACTS
from edgevit.models.weights import RANGE_FILES
from edgevit.quantization.ranges import RangeRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="an architecture with shipped weights")
    parser.add_argument("--data", required=True, help="the dataset that it was trained on")
    parser.add_argument("--format", choices=list(RANGE_FILES), help="only this one; default: all")
    options = parser.parse_args()
    source = open_source(options.model)
    kinds = [Format(options.format)] if options.format else list(RANGE_FILES)
    for kind, record in record_ranges(source, options.data, ARTIFACTS / source.name, kinds).items():
        print(f"{RANGE_FILES[kind]}: {len(record.ranges)} ranges over {record.images} images")


def record_ranges(
    source: Source, data: str, folder: Path, kinds: list[Format]
) -> dict[Format, RangeRecord]:
    """Measures ranges on a seeded sample of training images and writes them into a folder."""
    sample = sample_source(data, source.preprocess.input_size, CALIBRATION_IMAGES)
    records = {}
    for kind in kinds:
        records[kind] = calibrate(kind, source, build_options(kind, {}), sample)
        write_whole(folder / RANGE_FILES[kind], records[kind].to_text().encode())
    return records


if __name__ == "__main__":
    main()
