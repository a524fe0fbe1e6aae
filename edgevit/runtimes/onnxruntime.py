"""ONNX files in onnxruntime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgevit.core.errors import MissingDependencyError, RuntimeFailure
from edgevit.core.tensors import TensorSpec
from edgevit.runtimes.session import BatchedSession, load_failure

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxRuntimeSession(BatchedSession):
    """One .onnx file.

    Args:
        path: the file.
        threads: for operators; one keeps timings and results repeatable.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        RuntimeFailure: onnxruntime refuses the file.
    """

    runtime = "onnxruntime-cpu"

    def __init__(self, path: Path, kernels: str = "cpu", threads: int = 1):
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependencyError("onnxruntime", "onnx", "Running an .onnx file") from None
        self.path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            # The fallback would print to stdout and try the same provider again.
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
            self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
            self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise load_failure(path, "onnxruntime", error) from None
        self.read_contract()

    def run_chunk(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        try:
            values = self._session.run(None, {self.inputs[0].name: batch})
        except Exception as error:  # likewise
            raise RuntimeFailure(f"{self.path}: onnxruntime cannot run it ({error}).") from None
        return {
            spec.name: np.asarray(value, dtype=np.float32)
            for spec, value in zip(self.outputs, values, strict=True)
        }

    def close(self) -> None:
        self._session = None


def _spec(value) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, shape, _TYPES.get(value.type, value.type))
