"""Calls of layers in the config of a functional model of Keras 2, in the words of Keras 3."""

from __future__ import annotations

from typing import Any

from edgevit.frontend.sources.configs import Config


def safe_layer_name(name: str) -> str:
    """A layer's name as Keras 3 allows it: without slashes."""
    return name.replace("/", "_")


class Graph:
    """References to tensors inside one functional model.

    Keras 2 writes a call as ``[[layer, node, tensor, keywords], ...]``; a constant in the place of
    the first tensor is ``["_CONSTANT_VALUE", -1, value, keywords]``. Calls of a model inside the
    model count from 1, since its node 0 is its own.

    Args:
        config: of the model, as Keras 2 wrote it.
    """

    def __init__(self, config: Config):
        layers = config["layers"]
        self._kinds = {layer["name"]: layer["class_name"] for layer in layers}
        used: dict[str, set[int]] = {name: set() for name in self._kinds}
        self.map_tensors(
            [config["output_layers"], *(layer["inbound_nodes"] for layer in layers)],
            lambda name, node, tensor: used[name].add(node),
        )
        networks = ("Functional", "Model", "Sequential")
        self._from_one = {
            name: self._kinds[name] in networks and 0 not in nodes for name, nodes in used.items()
        }

    def upgrade_call(self, call: Any) -> Any:
        """One call as arguments and keywords; as it is where Keras 3 wrote it."""
        if not isinstance(call, list):
            return call
        tensors = [self.map_tensors(part[:3], self.tensor) for part in call]
        keywords: Config = next((part[3] for part in call if len(part) > 3 and part[3]), {})
        keywords = {
            key: self.map_tensors(value, self.tensor)
            for key, value in keywords.items()
            if key != "name"  # of the TensorFlow operation
        }
        return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": keywords}

    def tensor(self, layer: str, node: int, tensor: int) -> Config:
        """A reference as Keras 3 writes it in a call."""
        history = [safe_layer_name(layer), node - self._from_one[layer], tensor]
        # Shape and type are those of the layer's output, which Keras looks up.
        return {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None], "dtype": "float32", "keras_history": history},
        }

    def end(self, layer: str, node: int, tensor: int) -> list[Any]:
        """A reference as Keras 3 writes it for inputs and outputs of the model."""
        node -= self._from_one[layer]
        functional = self._kinds[layer] in ("Functional", "Model")  # Keras 3 counts these from 1
        return [safe_layer_name(layer), node + functional, tensor]

    def map_tensors(self, value: Any, build: Any) -> Any:
        """Replaces references to tensors inside lists and dicts, and unwraps constants."""
        if isinstance(value, list):
            if value and value[0] == "_CONSTANT_VALUE":
                return value[2]
            if self._is_tensor(value):
                return build(*value[:3])
            return [self.map_tensors(part, build) for part in value]
        if isinstance(value, dict):
            return {key: self.map_tensors(part, build) for key, part in value.items()}
        return value

    def _is_tensor(self, value: list[Any]) -> bool:
        whole = len(value) in (3, 4) and all(type(part) is int for part in value[1:3])
        return whole and isinstance(value[0], str) and value[0] in self._kinds
