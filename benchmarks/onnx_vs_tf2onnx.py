"""Our float32 ONNX ShiftViT against tf2onnx with only the missing handler (Erfc) added."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from report import parse_options, publish

import edgevit
from edgevit.bench.measure import measure_interleaved
from edgevit.core.probe_images import draw_images


def main() -> None:
    import onnx
    import onnxruntime

    options = parse_options(__doc__)
    images = draw_images(1, (32, 32))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        outcome = edgevit.export("shiftvit", "onnx-float32", folder)
        assert outcome.artifact is not None, str(outcome.verdict)
        files = {
            "tf2onnx + Erfc handler": write_stock(folder / "stock.onnx"),
            "ours float32": outcome.artifact.path,
        }
        candidates, notes = {}, {}
        for name, path in files.items():
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
            entry = session.get_inputs()[0]
            feed = {entry.name: images if entry.type == "tensor(uint8)" else images.astype("f4")}
            candidates[name] = lambda session=session, feed=feed: session.run(None, feed)
            nodes = onnx.load(str(path)).graph.node
            common = Counter(node.op_type for node in nodes).most_common(6)
            notes[name] = f"{len(nodes)} nodes, {dict(common)}"
        print("measuring", flush=True)
        samples = measure_interleaved(candidates, options.rounds)
    publish(samples, "tf2onnx + Erfc handler", notes, options.json)


def write_stock(path: Path) -> Path:
    """tf2onnx on Keras' own graph; the network, resize and scale inside, as ours."""
    import keras
    import tensorflow as tf
    import tf2onnx

    from edgevit.export.onnx import OPSET, erfc_handler

    trained = edgevit.load("shiftvit")
    raw = keras.Input((32, 32, 3), dtype="float32", name="images")
    x = keras.layers.Resizing(48, 48, interpolation="bilinear")(raw)
    x = keras.layers.Rescaling(1 / 255)(x)
    model = keras.Model(raw, trained(x, training=False)["logits"])
    signature = (tf.TensorSpec((1, 32, 32, 3), tf.float32, name="images"),)
    tf2onnx.convert.from_function(
        tf.function(lambda images: model(images, training=False)),
        input_signature=signature,
        opset=OPSET,
        custom_op_handlers={"Erfc": (erfc_handler, [])},
        output_path=str(path),
    )
    return path


if __name__ == "__main__":
    main()
