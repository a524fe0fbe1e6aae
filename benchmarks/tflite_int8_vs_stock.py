"""Our integer-only int8 ShiftViT against TFLiteConverter's int8 of the same weights.

The stock file is what the documentation of TFLiteConverter leads to: Keras' own SavedModel export
with a batch of one, optimizations DEFAULT and a representative dataset. Both are calibrated on the
same images (CIFAR training images where EDGEVIT_DATA names them, else drawn ones) and take raw
images with the resize inside.

"matrix products alone" is the floor: a network of the same Dense and Conv2D layers with nothing in
between, quantised the same way. What a file takes above it is the cost of everything else.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from report import parse_options, publish

import edgevit
from edgevit.bench.measure import measure_interleaved
from edgevit.core.golden_images import draw_images
from edgevit.core.tensors import Preprocess
from edgevit.data.calibration import sample_source
from edgevit.formats.tflite.runtime.litert import open_interpreter
from edgevit.frontend.opening import open_source
from edgevit.verification.audit import inspect

IMAGES = 300


def main() -> None:
    options = parse_options(__doc__)
    data = os.environ.get("EDGEVIT_DATA")
    images = sample_source(data, (32, 32), IMAGES).images if data else draw_images(IMAGES, (32, 32))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = {
            "stock int8": write_stock(folder / "stock.tflite", images, quantise=True),
            "stock float32": write_stock(folder / "stock32.tflite", images, quantise=False),
        }
        for target in ("tflite-int8", "tflite-float32", "tflite-dynamic"):
            calibration = images if target == "tflite-int8" else None
            outcome = edgevit.export("shiftvit", target, folder, calibration=calibration)
            assert outcome.artifact is not None, f"{target}: {outcome.verdict}"
            files[f"ours {target.removeprefix('tflite-')}"] = outcome.artifact.path
        files["matrix products alone"] = write_products_alone(folder, images)
        candidates, notes = open_candidates(files, images[:1])
        print("measuring", flush=True)
        samples = measure_interleaved(candidates, options.rounds)
    publish(samples, "stock int8", notes, options.json)


def open_candidates(files: dict[str, Path], image) -> tuple[dict, dict]:
    """(one inference of each file, what is inside it), by name; image: uint8 1 H W 3."""
    candidates, notes = {}, {}
    for name, path in files.items():
        interpreter = open_interpreter(path)
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]
        interpreter.set_tensor(entry["index"], image.astype(entry["dtype"]))
        candidates[name] = interpreter.invoke
        found = inspect(path)
        notes[name] = (
            f"{found.size_bytes / 1e6:.2f} MB, integer only: {found.integer_only}, "
            f"XNNPACK parts: {found.partitions}"
        )
    return candidates, notes


def write_stock(path: Path, images, quantise: bool, model: str | Path = "shiftvit") -> Path:
    """What a user of TFLiteConverter gets by hand.

    Args:
        path: of the file.
        images: uint8 N H W 3, for calibration.
        quantise: int8, or float32.
        model: architecture with shipped weights, or a training run's folder.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    source = open_source(model)
    contract = source.preprocess
    raw = keras.Input((*contract.input_size, 3), dtype="float32", name="images")
    x = keras.layers.Resizing(*contract.network_size, interpolation="bilinear")(raw)
    x = keras.layers.Rescaling(list(contract.scale), list(contract.offset))(x)
    model = keras.Model(raw, source.network(x, training=False)["logits"])
    with tempfile.TemporaryDirectory() as folder:
        signature = [keras.InputSpec(shape=(1, *contract.input_size, 3), dtype="float32")]
        model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantise:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [image[None].astype(np.float32)] for image in images
            )
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.int8
        path.write_bytes(converter.convert())
    return path


def write_products_alone(folder: Path, images) -> Path:
    """ShiftViT's Dense and Conv2D layers, without norms, activations, shifts and residuals."""
    import keras

    from edgevit.models.build import plan_model

    config = plan_model("shiftvit").config
    x = raw = keras.Input((config.image_size, config.image_size, 3))
    x = keras.layers.Conv2D(config.dim, config.patch_size, strides=config.patch_size)(x)
    for stage, depth in enumerate(config.depths):
        width = config.dim * 2**stage
        for _ in range(depth):
            x = keras.layers.Dense(int(width * config.mlp_ratio))(x)
            x = keras.layers.Dense(width)(x)
        if stage < len(config.depths) - 1:
            x = keras.layers.Conv2D(2 * width, 2, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.Dense(config.num_classes)(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(raw, {"logits": x}, name="products")
    contract = Preprocess(network_size=(config.image_size, config.image_size))
    outcome = edgevit.export(
        network,
        "tflite-int8",
        folder,
        calibration=images[:8],
        preprocess=contract,
        keep_failed=True,
    )
    assert outcome.artifact is not None
    return outcome.artifact.path


if __name__ == "__main__":
    main()
