"""SavedModel folders. Their runtime is TensorFlow itself (docs/decisions/0001)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgevit.core.errors import MissingDependencyError, RuntimeFailure
from edgevit.core.tensors import TensorSpec
from edgevit.runtimes.session import BatchedSession, load_failure

METADATA_FOLDER = "assets.extra"


class SavedModelSession(BatchedSession):
    """One SavedModel folder, its "serving_default" signature.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        RuntimeFailure: TensorFlow refuses the folder.
    """

    runtime = "tensorflow"

    def __init__(self, path: Path, kernels: str = "cpu", threads: int = 1):
        try:
            import tensorflow as tf
        except ImportError:
            raise MissingDependencyError(
                "tensorflow", "tensorflow", "Running a SavedModel"
            ) from None
        self.path = path
        try:
            self._loaded = tf.saved_model.load(str(path))
            self._call = self._loaded.signatures["serving_default"]
        except Exception as error:  # TensorFlow raises many types for damaged folders
            raise load_failure(path, "TensorFlow", error) from None
        self._tf = tf
        _, arguments = self._call.structured_input_signature
        self.inputs = tuple(_spec(name, spec) for name, spec in sorted(arguments.items()))
        results = self._call.structured_outputs
        self.outputs = tuple(_spec(name, spec) for name, spec in sorted(results.items()))
        folder = path / METADATA_FOLDER
        self.metadata = {file.stem: file.read_text() for file in sorted(folder.glob("*.json"))}
        self.read_contract()

    def run_chunk(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        try:
            results = self._call(**{self.inputs[0].name: self._tf.constant(batch)})
        except Exception as error:  # likewise
            raise RuntimeFailure(f"{self.path}: TensorFlow cannot run it ({error}).") from None
        return {name: np.asarray(value, dtype=np.float32) for name, value in results.items()}

    def close(self) -> None:
        self._loaded = self._call = None


def _spec(name: str, spec) -> TensorSpec:
    return TensorSpec(name, tuple(spec.shape.as_list()), spec.dtype.name)


def list_nodes(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """(operator, element types of its attributes) of every node in the serving function.

    Raises:
        RuntimeFailure: TensorFlow refuses the folder.
    """
    with SavedModelSession(path) as session:
        graph = session._call.graph
        nodes = []
        functions = [graph, *(function.graph for function in graph._functions.values())]
        for part in functions:
            for operation in part.get_operations():
                kinds = tuple(tensor.dtype.name for tensor in operation.outputs)
                nodes.append((operation.type, kinds))
        return nodes
