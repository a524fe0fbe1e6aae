"""ONNX files in onnxruntime, on the CPU or through CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import MissingDependencyError, RuntimeFailure, needed
from edgevit.core.tensors import TensorSpec
from edgevit.formats.onnx.runtime.file import metadata_of, read_model
from edgevit.formats.onnx.runtime.session import Infer, OnnxSession
from edgevit.formats.session import load_failure

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "wide": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
# x86 processors with AVX2 and without VNNI add pairs of 8-bit products in 16 bits, where they
# saturate. With this option onnxruntime takes wider sums there, and nothing changes elsewhere.
WIDE_SUMS = "session.x64quantprecision"

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxRuntimeSession(OnnxSession):
    """One .onnx file.

    Args:
        path: the file.
        kernels: "cpu"; "wide" for sums of 8-bit products that saturate on no processor; "cuda"
            for an NVIDIA GPU.
        threads: for operators; one (or None) keeps timings and results repeatable.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        RuntimeFailure: onnxruntime refuses the file, or has no such provider here.
    """

    library = "onnxruntime"

    def __init__(self, path: Path, kernels: str = "cpu", threads: int | None = None):
        onnxruntime = _import()
        self.path = path
        self.runtime = f"onnxruntime-{kernels}"
        provider = PROVIDERS[kernels]
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeFailure(
                f"{path}: this onnxruntime has no {provider}. It takes an NVIDIA GPU, and the "
                "package onnxruntime-gpu in place of onnxruntime: pip uninstall onnxruntime && "
                "pip install 'edgevit[gpu]'"
            )
        self._threads = threads or 1
        wide = kernels == "wide"
        self._session = load_model(path, str(path), self._threads, provider, wide=wide)
        try:
            self.inputs = tuple(spec_of(value) for value in self._session.get_inputs())
            self.outputs = tuple(spec_of(value) for value in self._session.get_outputs())
            self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
            self._refuse_text()
        except RuntimeFailure:
            raise
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise load_failure(path, "onnxruntime", error) from None
        if provider not in self._session.get_providers():  # without its driver it is left out
            raise RuntimeFailure(
                f"{path}: onnxruntime cannot use {provider} on this machine (no GPU, or no driver "
                "or library of the version that it needs). 'nvidia-smi' shows what is there."
            )

    def _refuse_text(self) -> None:
        """Refuses inputs and outputs that are no arrays of numbers.

        Raises:
            RuntimeFailure: the first of them.
        """
        for spec in (*self.inputs, *self.outputs):
            if spec.dtype not in _TYPES.values():
                raise RuntimeFailure(
                    f"{self.path}: {spec.name!r} is {spec.dtype}, and only arrays of numbers go in "
                    "and out here. Cut the graph where text begins."
                )

    def prepare(self, batch: dict[str, np.ndarray]) -> Infer:
        session = self._session
        return lambda: session.run(None, batch)

    def close(self) -> None:
        self._session = None


def read_metadata(path: Path) -> dict[str, str]:
    """Text documents that travel inside the file, by key.

    A board has onnxruntime alone: where the package onnx is missing, the runtime reads them.

    Raises:
        MissingDependencyError: neither is installed.
        ModelFileError: the file is damaged.
        RuntimeFailure: onnxruntime, which had to read it, refuses it.
    """
    try:
        return metadata_of(read_model(path))
    except MissingDependencyError:
        return dict(load_model(path, str(path)).get_modelmeta().custom_metadata_map)


def load_model(
    path: Path,
    content: str | bytes,
    threads: int = 1,
    provider: str = PROVIDERS["cpu"],
    profile: Path | None = None,
    optimized: Path | None = None,
    wide: bool = False,
) -> Any:
    """A bare ``InferenceSession``.

    Args:
        path: how errors call the file.
        content: name of a file, or what is in one.
        threads: for operators.
        provider: one of PROVIDERS.
        profile: beginning of the name of a file that a profile is written to; None: no profile.
        optimized: file that the graph is written to as it runs.
        wide: whether sums of 8-bit products must not saturate, see WIDE_SUMS.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        RuntimeFailure: onnxruntime refuses it.
    """
    onnxruntime = _import()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if wide:
        options.add_session_config_entry(WIDE_SUMS, "1")
    if optimized:
        options.optimized_model_filepath = str(optimized)
    try:
        # The fallback would print to stdout and try the same provider again.
        return onnxruntime.InferenceSession(
            content, options, providers=[provider], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise load_failure(path, "onnxruntime", error) from None


def spec_of(value: Any) -> TensorSpec:
    """An input or output as onnxruntime declares it; None for a size that is free."""
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, shape, _TYPES.get(value.type, value.type))


def _import() -> Any:
    with needed("onnxruntime", "onnx", "Running an .onnx file"):
        import onnxruntime
    return onnxruntime
