"""The tensors between the operators of a .tflite file, read from LiteRT after a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgevit.runtimes.inner_tensors import InnerTensor
from edgevit.runtimes.litert import LiteRTSession
from edgevit.runtimes.tflite_file import parse_model, tensor_name
from edgevit.runtimes.tflite_nodes import read_nodes


class LiteRTTap(LiteRTSession):
    """See :class:`edgevit.runtimes.inner_tensors.Tap`.

    Args:
        path: the file.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        ModelFileError: the file is damaged.
        RuntimeFailure: LiteRT refuses it.
    """

    def __init__(self, path: Path):
        super().__init__(path, "builtin", preserve_all=True)
        self.batch = self.inputs[0].shape[0] or 1
        self._details = {
            int(detail["index"]): detail for detail in self._interpreter.get_tensor_details()
        }
        self.tensors, self._indices = self._list()
        self.input_noise: dict[str, np.ndarray] = {}
        self._watched: tuple[str, ...] = ()

    def watch(self, names: Sequence[str]) -> None:
        self._watched = tuple(names)

    def run_chunk(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.bind(batch)()
        found = {}
        for name in self._watched:
            index = self._indices[name]
            value = self._interpreter.get_tensor(index)
            scale, zero = self._details[index]["quantization"]
            if value.dtype.kind in "iu" and scale:
                value = (value.astype(np.float32) - zero) * np.float32(scale)
            found[name] = value.astype(np.float32).reshape(len(batch), -1)  # B elements
        return found

    def _list(self) -> tuple[tuple[InnerTensor, ...], dict[str, int]]:
        graph = parse_model(self.path.read_bytes(), self.path.name).subgraphs[0]
        moving = {int(index) for index in graph.inputs}  # depends on the image
        tensors, indices = [], {}
        stored: dict[int, str] = {}  # layer of weights that are unpacked while the file runs
        nodes = zip(graph.operators, read_nodes(self.path), strict=True)
        for place, (operator, node) in enumerate(nodes):
            if moving.isdisjoint(int(index) for index in operator.inputs):
                stored.update((int(index), node.layer) for index in operator.outputs)
                continue
            # The file's output is called after no layer; its weights are.
            weights = (stored.get(int(index), "") for index in operator.inputs)
            layer = node.layer or next(filter(None, weights), "")
            for index in map(int, operator.outputs):
                moving.add(index)
                name = tensor_name(graph.tensors[index])
                tensor = self._describe_tensor(index, name, layer, node.op, place)
                if tensor is not None and tensor.name not in indices:
                    tensors.append(tensor)
                    indices[tensor.name] = index
        return tuple(tensors), indices

    def _describe_tensor(
        self, index: int, name: str, layer: str, op: str, place: int
    ) -> InnerTensor | None:
        """None for what is no activation: indices, shapes, sums in 32 bits."""
        detail = self._details.get(index)
        if detail is None:
            return None
        kind = np.dtype(detail["dtype"])
        shape = tuple(int(size) for size in detail["shape"])
        if kind.kind == "f":
            return InnerTensor(name, layer, op, place, shape)
        scale, zero = detail["quantization"]
        if kind.kind not in "iu" or kind.itemsize > 2 or not scale:
            return None
        limits = np.iinfo(kind)
        low, high = (float((level - zero) * scale) for level in (limits.min, limits.max))
        return InnerTensor(name, layer, op, place, shape, float(scale), low, high)
