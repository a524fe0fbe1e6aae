"""Every TFLite target of ours against TFLiteConverter's int8 of the same shipped weights.

The stock file is what the documentation of TFLiteConverter leads to: Keras' own SavedModel export
with a batch of one, optimizations DEFAULT and a representative dataset. All files are calibrated on
the same training images, take raw images with the resize inside, and run on one thread in one
process, in turns in random order. Run it while nothing else runs.

    python benchmarks/tflite_vs_stock.py shiftvit vit --json benchmarks/results/tflite_vs_stock.json

A run that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from provenance import read_rows, result_path, write_result

from edgevit.base.errors import EdgevitError
from edgevit.bench.measure import measure_interleaved
from edgevit.data.calibration import sample_source
from edgevit.data.datasets import find_source
from edgevit.formats.calibration import CALIBRATION_IMAGES
from edgevit.formats.tflite.runtime.litert import open_interpreter
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source
from edgevit.verbs.export import export

TARGETS = "tflite-float32,tflite-dynamic,tflite-mixed,tflite-int8,tflite-dynamic-int4"
STOCK = "stock int8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="as `edgevit models` calls them")
    parser.add_argument("--data", help="training images; default: $EDGEVIT_DATA")
    parser.add_argument("--targets", default=TARGETS, help="commas between")
    parser.add_argument("--rounds", type=int, default=200, help="samples of each file")
    parser.add_argument("--json", type=result_path, help="where to write figures and raw samples")
    options = parser.parse_args()
    rows = read_rows(options.json)
    measured = {row["model"] for row in rows}
    for model in (name for name in options.models if name not in measured):
        source = open_source(model)
        size = source.preprocess.input_size
        images = sample_source(find_source(options.data), size, CALIBRATION_IMAGES).images
        with tempfile.TemporaryDirectory() as folder:
            files = write_files(source, model, options.targets.split(","), images, Path(folder))
            rows += compare(model, files, images[:1], options.rounds)
        if options.json:
            write_result(options.json, {"rows": rows}, sorted({row["model"] for row in rows}))


def write_files(
    source: Source, model: str, targets: list[str], images: np.ndarray, folder: Path
) -> dict[str, Path]:
    """The stock file and ours, by name; a target that the network cannot be written to is told."""
    files = {STOCK: write_stock(source, images, folder / "stock.tflite")}
    for target in targets:
        try:
            outcome = export(model, target, folder, calibration=images, keep_failed=True)
        except EdgevitError as error:
            print(f"{model} {target}: {error}")
            continue
        assert outcome.artifact is not None
        files[target] = outcome.artifact.path
    return files


def write_stock(source: Source, images: np.ndarray, path: Path) -> Path:
    """What a user of TFLiteConverter gets by hand.

    Args:
        source: the float network.
        images: uint8 N H W 3, for calibration.
        path: of the file.
    """
    import keras
    import tensorflow as tf

    contract = source.preprocess
    raw = keras.Input((*contract.input_size, 3), dtype="float32", name="images")
    x = keras.layers.Resizing(*contract.network_size, interpolation="bilinear")(raw)
    x = keras.layers.Rescaling(list(contract.scale), list(contract.offset))(x)
    outputs = source.network(x, training=False)
    model = keras.Model(raw, next(iter(outputs.values())))
    with tempfile.TemporaryDirectory() as folder:
        signature = [keras.InputSpec(shape=(1, *contract.input_size, 3), dtype="float32")]
        model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image[None].astype(np.float32)] for image in images
        )
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.int8
        path.write_bytes(converter.convert())
    return path


def compare(
    model: str, files: dict[str, Path], image: np.ndarray, rounds: int
) -> list[dict[str, Any]]:
    """One row for each file, with its raw samples; image: uint8 1 H W 3."""
    candidates = {}
    for name, path in files.items():
        interpreter = open_interpreter(path)
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]
        interpreter.set_tensor(entry["index"], image.astype(entry["dtype"]))
        candidates[name] = interpreter.invoke
    samples = measure_interleaved(candidates, rounds)
    rows = []
    for name, path in files.items():
        ratio, low, high = samples.ratio(name, STOCK)
        median = samples.median_ms(name)
        print(f"{model:16} {name:20} {median:8.3f} ms {ratio:.3f} ({low:.3f} to {high:.3f})")
        rows.append(
            {
                "model": model,
                "file": name,
                "size_bytes": path.stat().st_size,
                "median_ms": median,
                "ratio": [ratio, low, high],
                "latency_ns": samples.latency_ns[name],
            }
        )
    return rows


if __name__ == "__main__":
    main()
