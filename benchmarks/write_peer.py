"""Writes a shipped network as ONNX with a peer's exporter; for onnx_vs_peers.py.

In a process of its own, since a Keras backend is chosen once: tf2onnx reads TensorFlow's graph,
Keras' own exporter is cleanest on torch.

    KERAS_BACKEND=torch python benchmarks/write_peer.py vit keras-torch out.onnx
"""

from __future__ import annotations

import sys


def main(name: str, peer: str, path: str) -> None:
    """The bare network, float32 images at its own size, with its logits alone."""
    import keras

    from edgevit.models.weights import load_model

    trained = load_model(name, outputs=("logits",))
    assert trained.plan is not None
    model = keras.Model(trained.network.inputs, trained.network.outputs[0])
    shape = (1, *trained.plan.preprocess.network_size, 3)
    if peer == "keras-torch":
        spec = keras.InputSpec(shape=shape, dtype="float32")
        model.export(path, format="onnx", input_signature=[spec], verbose=False)
    else:
        write_tf2onnx(model, shape, path)


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
