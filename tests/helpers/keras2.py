"""Files as Keras 2 wrote them, from configs in its words."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Config = dict[str, Any]
Weights = dict[str, list[np.ndarray]]

GLOROT = {"class_name": "GlorotUniform", "config": {"seed": None}}
ZEROS = {"class_name": "Zeros", "config": {}}
L2 = {"class_name": "L2", "config": {"l2": 0.01}}


def layer(kind: str, name: str, **config: Any) -> Config:
    """A layer's config."""
    base = {"name": name, "trainable": True, "dtype": "float32"}
    return {"class_name": kind, "config": {**base, **config}}


def entry(name: str, *shape: int | None) -> Config:
    """An InputLayer."""
    config = {"batch_input_shape": [None, *shape], "sparse": False, "ragged": False}
    return layer("InputLayer", name, **config)


def conv(name: str, filters: int, kernel: int, **config: Any) -> Config:
    """A Conv2D, with a regulariser."""
    sizes = {"kernel_size": [kernel, kernel], "strides": [1, 1], "dilation_rate": [1, 1]}
    rest = {"padding": "same", "data_format": "channels_last", "groups": 1, "use_bias": True}
    training = {"kernel_initializer": GLOROT, "bias_initializer": ZEROS, "kernel_regularizer": L2}
    found = layer("Conv2D", name, filters=filters, **sizes, **rest, **training)
    return {**found, "config": {**found["config"], "activation": "linear", **config}}


def depthwise(name: str, kernel: int) -> Config:
    """A DepthwiseConv2D with the keywords that Keras 3 has no more."""
    sizes = {"kernel_size": [kernel, kernel], "strides": [1, 1], "dilation_rate": [1, 1]}
    rest = {"padding": "same", "data_format": "channels_last", "groups": 1, "use_bias": False}
    training = {"kernel_initializer": GLOROT, "depthwise_initializer": GLOROT}
    return layer("DepthwiseConv2D", name, depth_multiplier=1, **sizes, **rest, **training)


def norm(name: str) -> Config:
    """A BatchNormalization of the last axis of four."""
    config = {"axis": [3], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
    return layer("BatchNormalization", name, gamma_initializer=ZEROS, **config)


def dense(name: str, units: int, activation: str = "linear", **config: Any) -> Config:
    """A Dense layer."""
    rest = {"use_bias": True, "kernel_initializer": GLOROT, "bias_initializer": ZEROS}
    return layer("Dense", name, units=units, activation=activation, **rest, **config)


def operation(function: str, name: str) -> Config:
    """A TensorFlow function in the graph."""
    return layer("TFOpLambda", name, function=function)


def called(part: Config, *calls: list[Any]) -> Config:
    """A layer of a functional model with its calls."""
    return {**part, "name": part["config"]["name"], "inbound_nodes": list(calls)}


def on(tensor: str, node: int = 0, /, **keywords: Any) -> list[Any]:
    """A reference to a layer's output, with keywords of the call."""
    return [tensor, node, 0, keywords]


def functional(name: str, layers: list[Config], inputs: list[str], outputs: list[Any]) -> Config:
    """A functional model."""
    ends = {"input_layers": [[entry, 0, 0] for entry in inputs], "output_layers": outputs}
    return {"class_name": "Functional", "config": {"name": name, "layers": layers, **ends}}


def sequential(name: str, layers: list[Config]) -> Config:
    """A Sequential model."""
    return {"class_name": "Sequential", "config": {"name": name, "layers": layers}}


def write_hdf5(path: Path, config: Config, weights: Weights, version: str | None = "2.11.0"):
    """An .h5 file of a whole model, compiled with a loss that nobody knows."""
    import h5py

    training = {"loss": "my_loss", "metrics": ["mine"], "optimizer_config": {"class_name": "My>O"}}
    with h5py.File(path, "w") as file:
        if version:
            file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["training_config"] = json.dumps(training)
        write_layers(file.create_group("model_weights"), weights)
        file.create_group("optimizer_weights").attrs["weight_names"] = [b"iter:0"]
    return path


def write_layers(group: Any, weights: Weights) -> None:
    """Weights by layer."""
    group.attrs["layer_names"] = [name.encode() for name in weights]
    for name, arrays in weights.items():
        inner = group.create_group(name)
        names = [f"{name}/weight_{number}:0" for number in range(len(arrays))]
        inner.attrs["weight_names"] = [text.encode() for text in names]
        for text, array in zip(names, arrays, strict=True):
            inner.create_dataset(text, data=array)


def write_archive(path: Path, config: Config, weights: Weights, version: str = "2.15.0") -> Path:
    """A .keras file of TensorFlow 2.13 to 2.15; weights by class and number ("conv2d_1")."""
    import io

    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, arrays in weights.items():
            group = file.create_group(f"layers/{name}/vars")
            for number, array in enumerate(arrays):
                group.create_dataset(str(number), data=array)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(_with_modules(config)))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", stream.getvalue())
    return path


def _with_modules(node: Any) -> Any:
    """Configs as these archives hold them: each class with the module that it had in Keras 2."""
    if isinstance(node, list):
        return [_with_modules(part) for part in node]
    if not isinstance(node, dict):
        return node
    found = {key: _with_modules(value) for key, value in node.items()}
    if "class_name" in found:
        networks = {"Functional": "keras.src.engine.functional", "Sequential": "keras"}
        module = networks.get(found["class_name"], "keras.layers")
        return {"module": module, **found, "registered_name": found["class_name"]}
    return found
