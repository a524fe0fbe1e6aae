"""What int8 takes from networks: files of edgevit and of the stock quantisers, in decibels.

The same weights, calibrated on the same samples, are run on others. The figure is the ratio of the
float model's outputs, less their mean, to the error of the file; six decibels more halve the error.
Stock are TFLiteConverter, and onnxruntime's static quantiser a tensor and a channel. Networks are
those that benchmarks/small_networks.py trained into a folder, or names of shipped ones.

With --ceiling a float graph is run too whose activations alone have 8 bits, as TFLiteConverter
ranges them: no rounding of weights brings that file further.

    python benchmarks/int8_vs_stock.py FOLDER resnet8 pose resnet:mlperf --ceiling
    python benchmarks/int8_vs_stock.py FOLDER pose --formats tflite --surgery default \
        --surgery default,no-try-on-samples
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from networks_vs_stock import (
    Images,
    find_network,
    gain_over,
    open_onnx,
    open_tflite,
    read_split,
    run_all,
    signal_to_noise,
    write_stock_quantised,
)
from provenance import result_path, write_result
from small_networks import NETWORKS, draw_samples

import edgevit
from edgevit.base.files import digest_path
from edgevit.core.format import Format
from edgevit.data.calibration import CalibrationSample
from edgevit.formats.calibration import calibrate
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.formats.tflite.writer.convert import float_graph
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes import find_passes
from edgevit.formats.tflite.writer.quantize.integer import carry_through_reshapes
from edgevit.formats.tflite.writer.quantize.set_precisions import int8_scale
from edgevit.frontend.opening import open_source

CALIBRATED, TESTED = 300, 1000  # samples
FIXED = {  # (scale, zero point) that kernels lay down
    "SOFTMAX": (1 / 256, -128),
    "LOGISTIC": (1 / 256, -128),
    "TANH": (1 / 128, 0),
    "L2_NORMALIZATION": (1 / 128, 0),
}
SAME = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "MAX_POOL_2D", "PAD")  # levels stay as they are
Writer = Callable[[keras.Model, Images, Path], None]
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of trained .keras files")
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--formats", default="tflite,onnx")
    parser.add_argument("--surgery", action="append", help="passes of a .tflite; again for more")
    parser.add_argument("--calibrated", type=int, default=CALIBRATED, help="samples")
    parser.add_argument("--tested", type=int, default=TESTED, help="samples")
    parser.add_argument("--ceiling", action="store_true", help="float weights, int8 activations")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.networks:
        network = find_network(options.folder, name, None)
        images = draw_images(name, network, options)
        for kind in options.formats.split(","):
            found = compare(network, kind, images, options)
            file = options.folder / f"{name}.keras"
            digest = digest_path(file) if file.exists() else None  # None for one that ships
            rows += [{"network": name, "format": kind, "file_sha256": digest, **r} for r in found]
            for row in rows[-len(found) :]:
                print_row(row)
        if options.json:
            shipped = sorted({row["network"] for row in rows if ":" in row["network"]})
            body = {"calibrated": options.calibrated, "tested": options.tested, "rows": rows}
            write_result(options.json, body, shipped)


def draw_images(name: str, network: keras.Model, options: argparse.Namespace) -> Images:
    """Samples of the kind that a network was trained on, none in both parts."""
    if name in NETWORKS:
        drawn, _ = draw_samples(name, options.calibrated, seed=11)
        tested, _ = draw_samples(name, options.tested, seed=12)
        known = {image.tobytes() for image in drawn}
        return Images(drawn, np.stack([row for row in tested if row.tobytes() not in known]))
    size = tuple(network.input_shape[1:3])
    drawn = read_split(None, "train", size, options.calibrated)
    return Images(drawn, read_split(None, "test", size, options.tested))


def compare(
    network: keras.Model, kind: str, images: Images, options: argparse.Namespace
) -> list[Row]:
    """A row for each file of ours, and for the ceiling, each held against the stock files."""
    expected = network.predict(images.test.astype(np.float32), batch_size=50, verbose=0)
    open_file = {"tflite": open_tflite, "onnx": open_onnx}[kind]
    with tempfile.TemporaryDirectory() as folder:
        outputs = {}
        for label, write in list_writers(kind, options).items():
            place = Path(folder) / f"{len(outputs)}.{kind}"
            write(network, images, place)
            outputs[label] = run_all(open_file(place), images.test)
    stock = [label for label in outputs if label.startswith("stock")]
    return [
        {
            "file": label,
            "snr_db": round(signal_to_noise(found, expected), 2),
            "agreement": agree(found, expected),
            "stock_db": {s: round(signal_to_noise(outputs[s], expected), 2) for s in stock},
            "stock_agreement": {s: agree(outputs[s], expected) for s in stock},
            "over_stock_db": {s: gain_over(found, outputs[s], expected) for s in stock},
        }
        for label, found in outputs.items()
        if label not in stock
    ]


def agree(found: np.ndarray, expected: np.ndarray) -> float | None:
    """Share of the same classes; None where the network tells none apart."""
    scores = expected.shape[-1] > 3 and not np.allclose(np.linalg.norm(expected, axis=-1), 1, 1e-3)
    return float((found.argmax(-1) == expected.argmax(-1)).mean()) if scores else None


def list_writers(kind: str, options: argparse.Namespace) -> dict[str, Writer]:
    """What writes each file, by its label."""
    if kind == "onnx":
        return {
            "onnx-int8": write_ours("onnx-int8", None),
            "stock int8": write_stock_quantised(False),
            "stock int8, weights a channel": write_stock_quantised(True),
        }
    passes = options.surgery or ["default"]
    ours = {f"tflite-int8 {names}": write_ours("tflite-int8", names) for names in passes}
    ceiling = {"float weights, int8 activations": write_ceiling} if options.ceiling else {}
    return {"stock int8": write_stock, **ours, **ceiling}


def write_stock(network: keras.Model, images: Images, path: Path) -> None:
    """What a user of TFLiteConverter gets."""
    signature = [keras.InputSpec(shape=(1, *images.calibration.shape[1:]), dtype="float32")]
    with tempfile.TemporaryDirectory() as folder:
        network.export(folder, "tf_saved_model", input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image[None].astype(np.float32)] for image in images.calibration
        )
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
        path.write_bytes(converter.convert())


def write_ours(target: str, surgery: str | None) -> Writer:
    """The file of a target, whatever the verdict on it."""

    def write(network: keras.Model, images: Images, path: Path) -> None:
        chosen = {} if surgery is None else {"surgery": find_passes(surgery)}
        with tempfile.TemporaryDirectory() as folder:
            found = edgevit.export(
                network,
                target,
                folder,
                calibration=images.calibration,
                scaling="raw",
                keep_failed=True,
                **chosen,
            )
            assert found.artifact is not None, found.refusal
            path.write_bytes(found.artifact.path.read_bytes())

    return write


def write_ceiling(network: keras.Model, images: Images, path: Path) -> None:
    """A float graph with 8 bits behind every operator, in ranges as TFLiteConverter takes them."""
    source, options = open_source(network, scaling="raw"), TfliteOptions()
    name = source.signature.inputs[0].name
    sample = CalibrationSample.of_inputs({name: images.calibration}, "drawn")
    record = calibrate(Format.TFLITE, source, options, sample)
    graph = float_graph(source, options)[0].copy()
    ranges = carry_through_reshapes(graph, record.ranges)
    graph.operators = [
        op for operator in graph.operators for op in round_behind(graph, operator, ranges)
    ]
    path.write_bytes(graph.to_bytes())


def round_behind(graph: TfliteGraph, operator: Any, ranges: Any) -> list[Any]:
    """An operator, and 8 bits there and back behind it."""
    kind, written = graph.kind(operator), [operator]
    floats = [index for index in map(int, operator.outputs) if graph.type(index) == "float32"]
    for result in [] if kind in SAME else floats:
        scale = int8_scale(*ranges[graph.name(result)])
        step, zero = FIXED.get(kind, (scale.scale, scale.zero_point))
        levels, again = (graph.copy_tensor(result, f"/{k}", k) for k in ("int8", "float32"))
        graph.set_scale(levels, [step], [zero])
        for reader, place in list(graph.readers(result)):
            inputs = [int(index) for index in reader.inputs]
            inputs[place] = again
            reader.inputs = inputs
        if graph.is_output(result):
            graph.set_output(result, again)
        written.append(graph.make_operator("QUANTIZE", 1, [result], [levels]))
        written.append(graph.make_operator("DEQUANTIZE", 2, [levels], [again]))
    return written


def print_row(row: Row) -> None:
    gains = [
        f"{middle:+.2f} ({low:+.2f} to {high:+.2f}) dB over {name}, {row['stock_db'][name]:.2f} dB"
        for name, (middle, low, high) in row["over_stock_db"].items()
    ]
    agreed = "" if row["agreement"] is None else f", agrees {100 * row['agreement']:.2f} %"
    print(
        f"{row['network']:14} {row['file']:32} {row['snr_db']:6.2f} dB{agreed}; {'; '.join(gains)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
