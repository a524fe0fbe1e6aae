"""Base classes of the sessions of .onnx files: results by name, refusals in one line."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import MissingDependencyError, RuntimeFailure, in_one_line
from edgevit.formats.onnx.runtime.file import declared_specs, metadata_of, read_model
from edgevit.formats.session import BatchedSession

Infer = Callable[[], Sequence[Any]]


class OnnxSession(BatchedSession):
    """One .onnx file. A runtime's file implements :meth:`prepare`.

    Attributes:
        library: name of the runtime, for messages.
    """

    library: str

    @abstractmethod
    def prepare(self, batch: dict[str, np.ndarray]) -> Infer:
        """Hands a batch over; each call of what it returns gives arrays in the outputs' order.

        Both may raise whatever the library raises.
        """

    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = self.bind_batch(batch)()
        return {
            spec.name: np.array(value, dtype=np.float32)  # the library may use its memory again
            for spec, value in zip(self.outputs, values, strict=True)
        }

    def bind_batch(self, batch: dict[str, np.ndarray]) -> Infer:
        try:
            infer = self.prepare(batch)
        except Exception as error:  # the libraries' exceptions share no public base class
            raise self._failure("run", error) from None

        def guarded() -> Sequence[Any]:
            try:
                return infer()
            except Exception as error:  # likewise
                raise self._failure("run", error) from None

        return guarded

    def _failure(self, verb: str, error: Exception, remedy: str = "") -> RuntimeFailure:
        # tract appends a backtrace.
        reason = in_one_line(str(error).partition("Stack backtrace")[0], 300)
        return RuntimeFailure(f"{self.path}: {self.library} cannot {verb} it ({reason}).{remedy}")


class OtherOnnxSession(OnnxSession):
    """One .onnx file in a runtime beside onnxruntime. Its file implements :meth:`load` as well.

    Names, types and metadata come from the file itself: these runtimes rename outputs, or keep
    the metadata to themselves.

    Args:
        path: the file.
        kernels: kernel set, which is the library in lower case.
        threads: for operators; None: one.

    Raises:
        MissingDependencyError: the runtime or onnx is not installed.
        ModelFileError: the file is damaged.
        RuntimeFailure: the runtime refuses the file or the number of threads.
    """

    def __init__(self, path: Path, kernels: str, threads: int | None = None):
        model = read_model(path)
        super().__init__(path, metadata_of(model))
        self.runtime = kernels
        self.inputs, self.outputs = declared_specs(model)
        try:
            self.load(model, threads or 1)
        except ImportError:
            raise MissingDependencyError(kernels, kernels, f"The runtime {kernels}") from None
        except Exception as error:  # the libraries' exceptions share no public base class
            remedy = " Without --runtime, onnxruntime runs it."
            raise self._failure("load", error, remedy) from None

    @abstractmethod
    def load(self, model: Any, threads: int) -> None:
        """Loads the file; may raise whatever the library raises, and ImportError without it.

        Args:
            model: the file as a ``ModelProto``.
            threads: for operators.
        """
