"""Exports of convolutional networks against what the usual tools make of the same weights.

Networks are trained ones (.keras files of benchmarks/small_networks.py, in a folder) and those of
keras.applications at 96x96 with seeded weights, whose errors grow more from layer to layer than
those of trained ones, so that only comparisons count, not the figures. Stock is
Keras' own ONNX exporter (tf2onnx) and onnxruntime's quantize_static on it, as it comes and with
weights a channel; and TFLiteConverter, whose int8 takes and returns float32 as it comes, and bytes
where it is told to. (LiteRT's kernel that makes int8 of a camera's uint8 takes 0.7 ns a number, ten
times as long as XNNPACK's, which makes int8 of floats.) All are calibrated on the same images and
compared with float Keras on the same other images: signal-to-noise ratio of the outputs with the
95 % interval of the difference (bootstrap over images), agreement, and operators in the file.

    python benchmarks/networks_vs_stock.py FOLDER resnet8 MobileNetV2 \\
        --json benchmarks/results/networks_vs_stock.json

With --rounds, latency is measured too: one thread, all files of a network in turns in random order.
Run that while nothing else runs. Networks that the JSON file holds are not measured again.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from provenance import ROOT, SEEDED, read_rows, result_path, write_result

sys.path.insert(0, str(ROOT / "tests"))

import keras

from edgevit.base.errors import EdgevitError, in_one_line
from edgevit.base.files import digest_path
from edgevit.bench.measure import Samples, measure_interleaved
from edgevit.data.datasets import find_source, limit_images, load_dataset
from edgevit.frontend.opening import open_source
from edgevit.models.weights import digest_weights
from edgevit.verbs.export import export
from kinds.lively import calm, liven

SIZE = (96, 96)  # of the networks of keras.applications
CLASSES = 10
SIGNED = ("MobileNet", "MobileNetV2", "ResNet50", "DenseNet121")  # that want -1..1
APPLICATIONS = (*SIGNED, "MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny")
LIVELY = 32  # images that their weights are settled on
RESAMPLES = 2000
OPENINGS = 5  # of each file, between which the rounds are divided


@dataclass(frozen=True)
class Opened:
    """A file in its runtime, on one thread.

    Attributes:
        prepare: one raw image, float32 1 H W C -> in the file's own type.
        invoke: what prepare returned -> outputs as the file has them.
        read: these -> float32.
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    invoke: Callable[[np.ndarray], np.ndarray]
    read: Callable[[np.ndarray], np.ndarray] = lambda values: values

    def run(self, image: np.ndarray) -> np.ndarray:
        """Outputs of one raw image."""
        return self.read(self.invoke(self.prepare(image)))


@dataclass(frozen=True)
class Images:
    """uint8 N H W 3: to calibrate with, and others to compare on."""

    calibration: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Side:
    """What a format's files are compared with.

    Attributes:
        targets: ours.
        stock: (name, target that it stands against, how it is written).
        open: opens a file in its runtime.
        count: operators of a file by kind.
    """

    targets: tuple[str, ...]
    stock: tuple[tuple[str, str, Callable[[keras.Model, Images, Path], None]], ...]
    open: Callable[[Path], Opened]
    count: Callable[[Path], Counter[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of .keras files")
    parser.add_argument(
        "networks", nargs="+", help="names of files, of keras.applications, or ours"
    )
    parser.add_argument("--targets", default="all", help="ours, commas between")
    parser.add_argument("--formats", default="onnx,tflite", help="commas between")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--calibration", type=int, default=100, help="images")
    parser.add_argument("--test", type=int, default=500, help="images")
    parser.add_argument("--rounds", type=int, default=0, help="samples of each file's latency")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    options = parser.parse_args()
    rows = read_rows(options.json)
    for name in options.networks:
        done = {(row["network"], row["format"]) for row in rows}
        network = None
        for kind in options.formats.split(","):
            if (name, kind) in done:
                continue
            network = network or find_network(options.folder, name, options.data)
            images = read_images(network, options)
            side = choose_targets(SIDES[kind], options.targets)
            rows += compare(name, network, kind, side, images, options.rounds)
            if options.json:
                own = list_own(rows, options.folder)
                write_result(options.json, {"rows": rows}, list_shipped(rows), own)


def list_shipped(rows: list[dict[str, Any]]) -> list[str]:
    """Names of networks whose weights ship."""
    return sorted({row["network"] for row in rows if row["ships"]})


def list_own(rows: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    """Digests of the trained networks' files, and of seeded weights, by name."""
    names = sorted({f"{row['network']}.keras" for row in rows})
    files = {name: digest_path(folder / name) for name in names if (folder / name).exists()}
    seeded = {r["network"] + SEEDED: r["seeded_sha256"] for r in rows if "seeded_sha256" in r}
    return files | seeded


def find_network(folder: Path, name: str, data: str | None) -> keras.Model:
    """A network that takes raw pixels, 0..255."""
    path = folder / f"{name}.keras"
    if path.exists():
        return keras.models.load_model(path, compile=False)
    if name in APPLICATIONS:
        return build_application(name, data)
    return with_preprocessing(name)


def build_application(name: str, data: str | None) -> keras.Model:
    """A network of keras.applications with weights as lively as trained ones."""
    keras.utils.set_random_seed(7)
    model = getattr(keras.applications, name)(input_shape=(*SIZE, 3), weights=None, classes=CLASSES)
    images = keras.Input((*SIZE, 3), name="images")
    inner = keras.layers.Rescaling(1 / 127.5, -1)(images) if name in SIGNED else images
    model = keras.Model(images, model(inner), name=name.lower())
    pictures = read_split(data, "train", SIZE, LIVELY).astype(np.float32)
    liven(model, pictures)
    calm(model, pictures)
    return model


def with_preprocessing(name: str) -> keras.Model:
    """A shipped network, its preprocessing in front."""
    source = open_source(name)
    contract = source.preprocess
    images = keras.Input((*contract.input_size, 3), name="images")
    x = keras.layers.Resizing(*contract.network_size, interpolation="bilinear")(images)
    x = keras.layers.Rescaling(list(contract.scale), list(contract.offset))(x)
    return keras.Model(images, source.network(x, training=False)["logits"], name=source.name)


def read_images(network: keras.Model, options: argparse.Namespace) -> Images:
    """Images of a network's size."""
    size = tuple(network.input_shape[1:3])
    return Images(
        read_split(options.data, "train", size, options.calibration),
        read_split(options.data, "test", size, options.test),
    )


def read_split(data: str | None, split: str, size: tuple[int, int], count: int) -> np.ndarray:
    """The first of a shuffled split. uint8 N H W 3."""
    return limit_images(load_dataset(find_source(data), split, size), count).images


def choose_targets(side: Side, names: str) -> Side:
    """A side with some of our targets, and the stock files that stand against them."""
    chosen = tuple(name for name in side.targets if names == "all" or name in names.split(","))
    return replace(side, targets=chosen, stock=tuple(s for s in side.stock if s[1] in chosen))


def compare(
    name: str, network: keras.Model, kind: str, side: Side, images: Images, rounds: int
) -> list[dict[str, Any]]:
    """One row for each file of a format, ours and stock's."""
    expected = network.predict(images.test.astype(np.float32), batch_size=50, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        files, failures = write_files(network, side, images, Path(folder))
        outputs = {}
        for label, path in files.items():
            try:
                outputs[label] = run_all(side.open(path), images.test)
            except Exception as error:  # what a runtime refuses is a result
                failures[label] = tell_reason(error)
        rows = [describe(label, outputs[label], expected, outputs, side) for label in outputs]
        for row in rows:
            row["operators"] = dict(side.count(files[row["file"]]).most_common())
            row["nodes"] = sum(row["operators"].values())
        if rounds:
            add_times(rows, files, images.test[:1], rounds, side)
    rows += [{"file": label, "failure": reason} for label, reason in failures.items()]
    about = {"network": name, "format": kind, "ships": name not in APPLICATIONS and ":" in name}
    if name in APPLICATIONS:
        about["seeded_sha256"] = digest_weights(network.get_weights())
    for row in rows:
        row.update(about)
        print_row(row)
    return rows


def write_files(
    network: keras.Model, side: Side, images: Images, folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """(path of each file, reason of each failure) by name."""
    files, failures = {}, {}
    for target in side.targets:
        try:
            found = export(
                network, target, folder, calibration=images.calibration, keep_failed=True
            )
            assert found.artifact is not None
            files[target] = found.artifact.path
        except EdgevitError as error:
            failures[target] = tell_reason(error)
    for name, target, write in side.stock:
        path = folder / name / f"stock{files[target].suffix}" if target in files else folder / name
        path.parent.mkdir(exist_ok=True)
        try:
            write(network, images, path)
            files[name] = path
        except Exception as error:  # converters raise anything
            failures[name] = tell_reason(error)
    return files, failures


def tell_reason(error: Exception) -> str:
    """Why a file is missing, in a line without the folders of this machine."""
    return re.sub(r"(?<!\w)(/[^/\s]+)+/", "", in_one_line(error))[:200]


def describe(
    label: str,
    found: np.ndarray,
    expected: np.ndarray,
    outputs: dict[str, np.ndarray],
    side: Side,
) -> dict[str, Any]:
    """Error of one file, and by how much it is lower than that of each stock file of its target."""
    row: dict[str, Any] = {
        "file": label,
        "snr_db": round(signal_to_noise(found, expected), 2),
        "agreement": float((found.argmax(-1) == expected.argmax(-1)).mean()),
        "over_stock_db": {
            name: gain_over(found, outputs[name], expected)
            for name, target, _ in side.stock
            if target == label and name in outputs
        },
    }
    return row


def signal_to_noise(found: np.ndarray, expected: np.ndarray) -> float:
    """10 log10 of the variance of outputs over images, over the mean square of their error."""
    signal, noise = _powers(found, expected)
    return float(10 * np.log10(signal.sum() / max(noise.sum(), 1e-30)))


def gain_over(found: np.ndarray, stock: np.ndarray, expected: np.ndarray) -> list[float]:
    """dB by which the noise is lower, with its 95 % interval over images."""
    ours, theirs = (_powers(values, expected)[1] for values in (found, stock))
    chosen = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    drawn = 10 * np.log10(theirs[chosen].sum(axis=1) / np.maximum(ours[chosen].sum(axis=1), 1e-30))
    middle = 10 * np.log10(theirs.sum() / max(ours.sum(), 1e-30))
    return [round(float(value), 2) for value in (middle, *np.percentile(drawn, [2.5, 97.5]))]


def _powers(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(signal, noise) of each image."""
    rows = expected.reshape(len(expected), -1).astype(np.float64)
    noise = np.square(found.reshape(len(found), -1) - rows).sum(axis=1)
    return np.square(rows - rows.mean(axis=0)).sum(axis=1), noise


def run_all(file: Opened, images: np.ndarray) -> np.ndarray:
    """Outputs of all images, one at a time."""
    return np.concatenate([file.run(image[None].astype(np.float32)) for image in images])


def add_times(
    rows: list[dict[str, Any]],
    files: dict[str, Path],
    image: np.ndarray,
    rounds: int,
    side: Side,
) -> None:
    """Latency of each file, and its ratio to each stock file of its target.

    An image of the file's own type goes in and its own numbers come out: what a camera delivers and
    a program reads is another matter, and numpy's casts are slower than small networks' layers.
    Every file is opened anew several times, in another order: where its tensors come to lie in
    memory makes up to 6 % of a small network's latency, and is chance.
    """
    value, order, found = image.astype(np.float32), random.Random(0), []
    labels = [row["file"] for row in rows]
    for seed in range(OPENINGS):
        opened = {name: side.open(files[name]) for name in order.sample(labels, len(labels))}
        candidates = {
            name: partial(file.invoke, file.prepare(value)) for name, file in opened.items()
        }
        count = -(-rounds // OPENINGS)
        found.append(measure_interleaved(candidates, count, runs=3, warmup=5, seed=seed))
    samples = Samples(
        {name: tuple(ns for one in found for ns in one.latency_ns[name]) for name in labels}
    )
    for row in rows:
        row["median_ms"] = samples.median_ms(row["file"])
        row["latency_ns"] = samples.latency_ns[row["file"]]
        row["ratio"] = {
            name: samples.ratio(row["file"], name)
            for name, target, _ in side.stock
            if target == row["file"] and name in labels
        }


def print_row(row: dict[str, Any]) -> None:
    head = f"{row['network']:18} {row['file']:28}"
    if "failure" in row:
        print(f"{head} {row['failure']}", flush=True)
        return
    gains = [
        f"{middle:+.1f} ({low:+.1f} to {high:+.1f}) dB over {name}"
        for name, (middle, low, high) in row["over_stock_db"].items()
    ]
    kinds = ", ".join(f"{count} {kind}" for kind, count in list(row["operators"].items())[:4])
    print(
        f"{head} {row['snr_db']:6.1f} dB, agrees {100 * row['agreement']:5.1f} %, "
        f"{row['nodes']} operators ({kinds}) {'; '.join(gains)}",
        flush=True,
    )


def write_stock_onnx(network: keras.Model, images: Images, path: Path) -> None:
    """Keras' own exporter, a batch of one."""
    shape = (1, *network.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="images")]
    network.export(path, format="onnx", input_signature=signature, verbose=False)


def write_stock_quantised(per_channel: bool) -> Callable[[keras.Model, Images, Path], None]:
    """onnxruntime's static quantiser on that, after the preparation that its manual asks for."""

    def write(network: keras.Model, images: Images, path: Path) -> None:
        from onnxruntime.quantization import quant_pre_process, quantize_static

        plain, prepared = path.with_name("plain.onnx"), path.with_name("prepared.onnx")
        write_stock_onnx(network, images, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, path, ImageReader(images.calibration), per_channel=per_channel)

    return write


class ImageReader:
    """A CalibrationDataReader, as onnxruntime calls it."""

    def __init__(self, images: np.ndarray):
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch of one; None at the end."""
        image = next(self.images, None)
        return None if image is None else {"images": image[None].astype(np.float32)}


def open_onnx(path: Path) -> Opened:
    """A session of one thread."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    dtype = np.uint8 if "uint8" in entry.type else np.float32
    return Opened(
        lambda image: image.astype(dtype),
        lambda values: session.run(None, {entry.name: values})[0],
    )


def count_onnx(path: Path) -> Counter[str]:
    """Nodes by operator."""
    import onnx

    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def write_stock_tflite(
    quantised: bool, whole: bool = False
) -> Callable[[keras.Model, Images, Path], None]:
    """TFLiteConverter on Keras' SavedModel.

    Args:
        quantised: int8, with float32 in and out, as it comes.
        whole: integers alone, with uint8 in and int8 out, as ours.
    """

    def write(network: keras.Model, images: Images, path: Path) -> None:
        import tensorflow as tf

        shape = (1, *network.input_shape[1:])
        with tempfile.TemporaryDirectory() as folder:
            signature = [keras.InputSpec(shape=shape, dtype="float32", name="images")]
            network.export(
                folder, format="tf_saved_model", input_signature=signature, verbose=False
            )
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if quantised:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: (
                    [image[None].astype(np.float32)] for image in images.calibration
                )
            if whole:
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.inference_input_type = tf.uint8
                converter.inference_output_type = tf.int8
            path.write_bytes(converter.convert())

    return write


def open_tflite(path: Path) -> Opened:
    """An interpreter of one thread; integers in and out as their scales say."""
    from edgevit.formats.tflite.runtime.litert import open_interpreter

    interpreter = open_interpreter(path)
    interpreter.allocate_tensors()
    (entry,), result = interpreter.get_input_details(), interpreter.get_output_details()[0]

    def invoke(values: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(entry["index"], values)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    def read(values: np.ndarray) -> np.ndarray:
        scale, zero = result["quantization"]
        return values.astype(np.float32) if not scale else (values - np.float32(zero)) * scale

    return Opened(lambda image: image.astype(entry["dtype"]), invoke, read)


def count_tflite(path: Path) -> Counter[str]:
    """Operators by kind."""
    from edgevit.verification.audit import inspect

    return Counter(inspect(path).ops)


SIDES = {
    "onnx": Side(
        ("onnx-float32", "onnx-float16", "onnx-dynamic", "onnx-int8", "onnx-float32-cpu"),
        (
            ("stock float32", "onnx-float32", write_stock_onnx),
            ("stock int8", "onnx-int8", write_stock_quantised(False)),
            ("stock int8, weights a channel", "onnx-int8", write_stock_quantised(True)),
        ),
        open_onnx,
        count_onnx,
    ),
    "tflite": Side(
        ("tflite-float32", "tflite-int8"),
        (
            ("stock float32", "tflite-float32", write_stock_tflite(False)),
            ("stock int8", "tflite-int8", write_stock_tflite(True)),
            ("stock int8, bytes in and out", "tflite-int8", write_stock_tflite(True, whole=True)),
        ),
        open_tflite,
        count_tflite,
    ),
}


if __name__ == "__main__":
    main()
