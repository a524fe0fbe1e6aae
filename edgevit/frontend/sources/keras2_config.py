"""The config of a model that Keras 2 saved, in the words of Keras 3.

Keras 3 reads most of them itself. This rewrites what it refuses (keywords that are gone, TensorFlow
functions in the graph, tensors in keyword arguments, slashes in names) and what it would read as
something else (Keras 2's hard sigmoid, several axes). The same goes for .h5 files of Keras 3, which
keep parts of the old form.
"""

from __future__ import annotations

import inspect
from typing import Any

from edgevit.frontend.sources.configs import Config
from edgevit.frontend.sources.keras2_graph import Graph, safe_layer_name

OWN_PACKAGE = "edgevit"  # of what edgevit.frontend.sources.keras2_layers registers
RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "Model": "Functional",
}
NETWORKS = {"Functional": "keras.src.models.functional", "Sequential": "keras"}
OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
FUNCTION_MODULES = ("numpy", "core", "nn", "math", "image", "linalg")  # of keras.src.ops
# Keywords that say nothing about what is computed once the weights are there.
WITHOUT_EFFECT = {
    "Embedding": ("input_length",),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape"),
}
OF_TRAINING = ("_initializer", "_regularizer", "_constraint")
UNSAID: tuple[Any, ...] = (None, False, 1, [])  # defaults of keywords that Keras 3 has no more
OF_EVERY_LAYER = {"name", "trainable", "dtype", "activity_regularizer", "autocast"}
LAMBDA_KEYS = ("module", "function_type", "output_shape_type", "output_shape_module")


def is_keras2(version: str | None) -> bool:
    """Whether a file was written before Keras 3, by the version that it names, if any."""
    return version is None or version.split(".")[0] in ("1", "2")


def upgrade_model(config: Config, keras2: bool = True) -> Config:
    """Rewrites a model's config.

    Args:
        config: ``{"class_name": ..., "config": ...}``; left as it is.
        keras2: whether Keras 2 wrote it, or Keras 3 in the old form.

    Returns:
        The same model for ``keras.saving.deserialize_keras_object``.
    """
    return _Upgrade(keras2).part(config)


class _Upgrade:
    """Rewrites parts of a config.

    Args:
        keras2: whether Keras 2 wrote it.
    """

    def __init__(self, keras2: bool):
        self.keras2 = keras2

    def part(self, node: Any) -> Any:
        """Anything; layers inside it are rewritten."""
        if isinstance(node, list):
            return [self.part(value) for value in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("class_name"), str) and isinstance(node.get("config"), (dict, list)):
            return self._object(node)
        return {key: self.part(value) for key, value in node.items()}

    def _object(self, node: Config) -> Config:
        import keras

        name: str = node["class_name"]
        kind = RENAMED.get(name, name)
        if kind in NETWORKS:
            return _of_keras(kind, self._network(kind, node["config"]))
        if kind in OPERATIONS:
            return _of_ours(kind, _safe_name(dict(node["config"])))
        module = None if self.keras2 else _module_of_function(kind, node["config"])
        if module is not None:
            return {**node, "module": module, "registered_name": kind}
        if hasattr(keras.layers, kind):
            return _of_keras(kind, self._layer(kind, dict(node["config"])))
        return node  # an initializer, a policy, or somebody's own class

    def _network(self, kind: str, config: Config | list[Any]) -> Config:
        if isinstance(config, list):  # before Keras 2.3
            config = {"name": "sequential", "layers": config}
        config = _safe_name(dict(config))
        layers = config["layers"]
        config["layers"] = [_as_layer(self.part(layer)) for layer in layers]
        if kind == "Sequential":
            config["layers"] = [*_entries_of(layers), *config["layers"]]
            return config
        graph = Graph({**config, "layers": layers})
        for before, after in zip(layers, config["layers"], strict=True):
            after["name"] = safe_layer_name(before["name"])
            after["inbound_nodes"] = [graph.upgrade_call(call) for call in before["inbound_nodes"]]
        for key in ("input_layers", "output_layers") if self.keras2 else ():
            ends = graph.map_tensors(config[key], graph.end)
            config[key] = ends[0] if len(ends) == 1 and isinstance(ends[0], list) else ends
        return config

    def _layer(self, kind: str, config: Config) -> Config:
        """A built-in layer's keywords."""
        shape = config.pop("batch_input_shape", None)
        if kind == "InputLayer" and shape is not None:
            config["batch_shape"] = shape
        known, without = _keywords(kind), WITHOUT_EFFECT.get(kind, ())
        config = {
            key: value if key.endswith(OF_TRAINING) else self.part(value)
            for key, value in config.items()
            if key in known or not (key in without or _is_unsaid(key, value))
        }
        if isinstance(config.get("dtype"), dict) and self.keras2:
            config["dtype"] = config["dtype"].get("config", {}).get("name", "float32")
        if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
            config["axis"] = config["axis"][0]
        for key, value in config.items():
            if self.keras2 and key.endswith("activation") and value == "hard_sigmoid":
                config[key] = _function_of_ours("hard_sigmoid")
        return _safe_name(_upgrade_lambda(config) if kind == "Lambda" else config)


def _of_keras(kind: str, config: Config) -> Config:
    module = NETWORKS.get(kind, "keras.layers")
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _module_of_function(kind: str, config: Config) -> str | None:
    """Where a function of keras.ops lives that is a node of a graph; None for a layer."""
    import keras

    if "trainable" in config or kind == "InputLayer":  # every layer says so, and no function
        return None
    parts = (getattr(keras.src.ops, name) for name in FUNCTION_MODULES)
    return next((part.__name__ for part in parts if hasattr(part, kind)), None)


def _of_ours(kind: str, config: Config) -> Config:
    return {
        "module": OWN_PACKAGE,
        "class_name": kind,
        "config": config,
        "registered_name": f"{OWN_PACKAGE}>{kind}",
    }


def _function_of_ours(name: str) -> Config:
    registered = f"{OWN_PACKAGE}>{name}"
    return {
        "module": OWN_PACKAGE,
        "class_name": "function",
        "config": registered,
        "registered_name": registered,
    }


def _as_layer(node: Config) -> Config:
    """A layer of a network; somebody's own bears its registered name as its class."""
    if "module" in node:
        return node
    name, config = node["class_name"], dict(node["config"])
    config.pop("batch_input_shape", None)
    kind = name.split(">")[-1]
    config = _safe_name(config)
    return {"module": "custom", "class_name": kind, "config": config, "registered_name": name}


def _entries_of(layers: list[Config]) -> list[Config]:
    """The InputLayer that a Sequential model lacks, where its first layer knows the shape."""
    if not layers or layers[0]["class_name"] == "InputLayer":
        return []
    first = _first_layer(layers[0])
    shape = first["config"].get("batch_input_shape") or first["config"].get("batch_shape")
    if shape is None:
        return []
    dtype = "int32" if first["class_name"] == "Embedding" else "float32"
    return [_of_keras("InputLayer", {"batch_shape": shape, "dtype": dtype})]


def _first_layer(layer: Config) -> Config:
    """The layer itself, or the first inside a model."""
    config = layer["config"]
    inside = config.get("layers") if isinstance(config, dict) else config
    return _first_layer(inside[0]) if inside else layer


def _keywords(kind: str) -> set[str]:
    """Keywords of a layer's constructor and of those of its base classes."""
    import keras

    found = set(OF_EVERY_LAYER)
    for base in getattr(keras.layers, kind).__mro__:
        if base is not keras.layers.Layer and "__init__" in vars(base):
            found |= set(inspect.signature(base.__init__).parameters)
    return found


def _is_unsaid(key: str, value: Any) -> bool:
    """Whether a keyword may go where its layer does not know it."""
    default = any(value == unsaid and type(value) is type(unsaid) for unsaid in UNSAID)
    return default or key.endswith(OF_TRAINING)


def _upgrade_lambda(config: Config) -> Config:
    """Code as a list becomes code as a dict."""
    config = {key: value for key, value in config.items() if key not in LAMBDA_KEYS}
    for key in ("function", "output_shape"):
        code = config.get(key)
        if isinstance(code, list) and len(code) == 3 and isinstance(code[0], str):
            parts = dict(zip(("code", "defaults", "closure"), code, strict=True))
            config[key] = {"class_name": "__lambda__", "config": parts}
    return config


def _safe_name(config: Config) -> Config:
    if isinstance(config.get("name"), str):
        config["name"] = safe_layer_name(config["name"])
    return config
