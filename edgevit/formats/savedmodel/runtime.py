"""SavedModel folders. Their runtime is TensorFlow itself (docs/decisions/0001)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.documents import read_text
from edgevit.base.errors import RuntimeFailure, needed
from edgevit.base.files import size_path
from edgevit.core.inspection import Inspection
from edgevit.core.metadata import SAVEDMODEL_FOLDER
from edgevit.core.tensors import TensorSpec
from edgevit.formats.session import BatchedSession, load_failure

Specs = tuple[TensorSpec, ...]


class SavedModelSession(BatchedSession):
    """One SavedModel folder, its "serving_default" signature.

    Args:
        path: the folder.
        kernels: "cpu" or "gpu".
        threads: of the whole process; they can be set only before TensorFlow computes anything.
            None: as they are.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        RuntimeFailure: TensorFlow refuses the folder, the number of threads, or sees no GPU.
    """

    def __init__(self, path: Path, kernels: str = "cpu", threads: int | None = None):
        with needed("tensorflow", "tensorflow", "Running a SavedModel"):
            import tensorflow as tf
        self.path = path
        self.runtime = "tensorflow" if kernels == "cpu" else f"tensorflow-{kernels}"
        if kernels == "gpu" and not tf.config.list_physical_devices("GPU"):
            raise RuntimeFailure(
                f"{path}: TensorFlow sees no GPU here. It takes an NVIDIA GPU with its driver, and "
                "CUDA: pip install 'edgevit[gpu]'"
            )
        if threads is not None:
            set_threads(tf, threads)
        try:
            self._loaded = tf.saved_model.load(str(path))
            self._call = self._loaded.signatures["serving_default"]
        except Exception as error:  # TensorFlow raises many types for damaged folders
            raise load_failure(path, "TensorFlow", error) from None
        self._tf = tf
        self.metadata = read_metadata(path)
        self.inputs, self.outputs = self._in_order(*signature_specs(self._call))

    def _in_order(self, inputs: Specs, outputs: Specs) -> tuple[Specs, Specs]:
        """As the manifest lists them: a signature of TensorFlow's keeps no order."""
        if self.manifest is None:
            return inputs, outputs
        order = {spec.name: place for place, spec in enumerate(self.manifest.inputs)}
        after = {spec.name: place for place, spec in enumerate(self.manifest.outputs)}
        return (
            tuple(sorted(inputs, key=lambda spec: order.get(spec.name, len(order)))),
            tuple(sorted(outputs, key=lambda spec: after.get(spec.name, len(after)))),
        )

    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = self._run(self._feed(batch))
        return {
            spec.name: np.asarray(results[spec.name], dtype=np.float32) for spec in self.outputs
        }

    def bind_batch(self, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        feed = self._feed(batch)
        # A kernel on a GPU returns before it has computed; reading the result waits for it.
        return lambda: [value.numpy() for value in self._run(feed).values()]

    def _feed(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        return {name: self._tf.constant(values) for name, values in batch.items()}

    def _run(self, feed: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._call(**feed)
        except Exception as error:  # likewise
            raise RuntimeFailure(f"{self.path}: TensorFlow cannot run it ({error}).") from None

    def close(self) -> None:
        self._loaded = self._call = None


def signature_specs(function: Any) -> tuple[Specs, Specs]:
    """(inputs, outputs) of a concrete function, sorted by name."""
    places, arguments = function.structured_input_signature
    named = {spec.name: spec for spec in places} | arguments
    inputs, outputs = (
        tuple(
            TensorSpec(name, tuple(spec.shape.as_list()), spec.dtype.name)
            for name, spec in sorted(side.items())
        )
        for side in (named, function.structured_outputs)
    )
    return inputs, outputs


def read_metadata(path: Path) -> dict[str, str]:
    """Text documents that travel inside the folder, by key."""
    folder = path / SAVEDMODEL_FOLDER
    return {file.stem: read_text(file) for file in sorted(folder.glob("*.json"))}


def set_threads(tf: Any, threads: int) -> None:
    """Threads of TensorFlow's kernels, for the whole process.

    Raises:
        RuntimeFailure: it has computed something already, with another number.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise RuntimeFailure(
                f"TensorFlow runs in this process already, and cannot change to {threads} threads. "
                "Open the SavedModel before anything else uses TensorFlow."
            ) from None


def inspect_savedmodel(path: Path) -> Inspection:
    """Lists what is inside the serving function of a SavedModel folder.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        RuntimeFailure: TensorFlow refuses the folder.
    """
    with SavedModelSession(path) as session:
        graph = session._call.graph
        functions = [graph, *(function.graph for function in graph._functions.values())]
        nodes = [
            (operation.type, tuple(tensor.dtype.name for tensor in operation.outputs))
            for part in functions
            for operation in part.get_operations()
        ]
        types = [kind for _, kinds in nodes for kind in kinds]
        specs = session.inputs, session.outputs
        return Inspection.of("savedmodel", size_path(path), nodes, types, specs)
