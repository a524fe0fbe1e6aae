"""Writes one of our networks as ONNX with a peer's exporter; for onnx_vs_peers.py.

In a process of its own, since a Keras backend is chosen once: tf2onnx reads TensorFlow's graph,
Keras' own exporter is cleanest on torch.

    KERAS_BACKEND=torch python benchmarks/write_peer.py vit w.npz keras-torch textbook out.onnx
"""

from __future__ import annotations

import sys
import time

import numpy as np


def main(name: str, weights: str, peer: str, form: str, path: str) -> None:
    """Prints the seconds of the export, and how far the textbook's logits are from ours."""
    import keras
    from textbook import build_textbook, check_equal

    from edgevit.models.build import build_plan, plan_model

    plan = plan_model(name, outputs=("logits",))
    network = build_plan(plan)
    with np.load(weights) as arrays:
        network.set_weights([arrays[key] for key in arrays.files])
    model = keras.Model(network.inputs, network.outputs[0])
    if form == "textbook":
        model = build_textbook(name, network, plan.config)
        print("difference", check_equal(network, model))
    shape = (1, *plan.preprocess.network_size, 3)
    started = time.perf_counter()
    if peer == "keras-torch":
        spec = keras.InputSpec(shape=shape, dtype="float32")
        model.export(path, format="onnx", input_signature=[spec], verbose=False)
    else:
        write_tf2onnx(model, shape, path)
    print("seconds", time.perf_counter() - started)


def write_tf2onnx(model, shape: tuple[int, ...], path: str) -> None:
    """tf2onnx with the handler that it lacks for Keras' exact GELU."""
    import tensorflow as tf
    import tf2onnx

    from edgevit.formats.onnx.writer.float_graph import erfc_handler

    tf2onnx.convert.from_function(
        tf.function(lambda images: model(images, training=False)),
        input_signature=(tf.TensorSpec(shape, tf.float32, name="images"),),
        opset=17,
        custom_op_handlers={"Erfc": (erfc_handler, [])},
        output_path=path,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
