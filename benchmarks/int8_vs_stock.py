"""What int8 takes from networks, as tflite-int8 and as a bare TFLiteConverter writes it.

The same weights, calibrated on the same samples, are run on others. The figure is the ratio of the
float model's outputs, less their mean, to the error of the file, in decibels: six more halve the
error. Networks are those that benchmarks/small_networks.py trained into a folder.

    python benchmarks/int8_vs_stock.py FOLDER resnet8 pose
    python benchmarks/int8_vs_stock.py FOLDER pose --surgery default --surgery equalise-channels
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from provenance import ROOT
from small_networks import draw_samples

import edgevit
from edgevit.formats.tflite.writer.passes import find_passes

sys.path.insert(0, str(ROOT / "tests"))

from kinds.check import dequantise, quantise

CALIBRATED, TESTED = 200, 400  # samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of trained .keras files")
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--surgery", action="append", help="passes of a file; again for another")
    options = parser.parse_args()
    for name in options.networks:
        model = keras.models.load_model(options.folder / f"{name}.keras", compile=False)
        images, _ = draw_samples(name, CALIBRATED, seed=11)
        tested, _ = draw_samples(name, TESTED, seed=12)
        wanted = np.asarray(model.predict(tested.astype(np.float32), verbose=0))
        with tempfile.TemporaryDirectory() as folder:
            files = {"stock": write_stock(model, images, Path(folder))}
            for surgery in options.surgery or ["default"]:
                files[surgery] = write_ours(model, images, Path(folder), surgery)
            found = {key: signal_to_noise(run(file, tested), wanted) for key, file in files.items()}
        print(f"{name:12} {', '.join(f'{key} {value:.2f} dB' for key, value in found.items())}")


def write_stock(model: keras.Model, images: np.ndarray, folder: Path) -> Path:
    """What a user of TFLiteConverter gets; images: uint8 N H W C, for calibration."""
    signature = [keras.InputSpec(shape=(1, *images.shape[1:]), dtype="float32")]
    model.export(folder / "saved", "tf_saved_model", input_signature=signature, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([i[None].astype(np.float32)] for i in images)
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    path = folder / "stock.tflite"
    path.write_bytes(converter.convert())
    return path


def write_ours(model: keras.Model, images: np.ndarray, folder: Path, surgery: str) -> Path:
    """The file of tflite-int8, whatever the verdict on it."""
    place = folder / surgery.replace(",", "-")
    outcome = edgevit.export(
        model,
        "tflite-int8",
        place,
        calibration=images,
        scaling="raw",
        surgery=find_passes(surgery),
        keep_failed=True,
    )
    assert outcome.artifact is not None, outcome.refusal
    return outcome.artifact.path


def run(path: Path, images: np.ndarray) -> np.ndarray:
    """Outputs of a file of one input and one output, as real numbers. N ..."""
    from ai_edge_litert.interpreter import Interpreter

    file = Interpreter(str(path), num_threads=1)
    file.allocate_tensors()
    (entry,), (result,) = file.get_input_details(), file.get_output_details()
    found = []
    for image in images:
        file.set_tensor(entry["index"], quantise(image[None], entry))
        file.invoke()
        found.append(dequantise(file.get_tensor(result["index"]), result)[0])
    return np.stack(found)


def signal_to_noise(found: np.ndarray, wanted: np.ndarray) -> float:
    """Power of what varies over the samples, to that of the error, in dB."""
    signal = np.square(wanted - wanted.mean(axis=0)).mean()
    return float(10 * np.log10(signal / np.square(found - wanted).mean()))


if __name__ == "__main__":
    main()
