"""What flows inside an exported file: every tensor between its layers, by Keras layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from edgevit.core.errors import ConfigError
from edgevit.core.targets import Format
from edgevit.runtimes import detect_format


@dataclass(frozen=True)
class InnerTensor:
    """One tensor that an operator of the file computes.

    Attributes:
        name: in the file.
        layer: path of the Keras layer, as the file's names tell it; empty where they do not.
        op: operator that computes it.
        place: of this operator in the file.
        shape: of one run, sizes as they are when it runs; empty where it is not known before.
        step: between two levels of an integer tensor, in the unit of its values; 0 for floats.
        low: value of the lowest level.
        high: value of the highest.
        partial: whether a part of the layer's work was moved into what follows.
    """

    name: str
    layer: str
    op: str
    place: int
    shape: tuple[int, ...]
    step: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    partial: bool = False


class Tap(Protocol):
    """A file that is run for what is inside it. A context manager.

    Attributes:
        path: the file.
        runtime: name of runtime and kernel set.
        metadata: text documents that travel inside the file, by key.
        tensors: what can be read, in the order in which it is computed.
        input_noise: what rounding a layer's input adds to its output, where the file rounds on the
            way in: mean square for each output channel, by layer.
        batch: images of one run.
    """

    path: Path
    runtime: str
    metadata: dict[str, str]
    tensors: tuple[InnerTensor, ...]
    input_noise: dict[str, np.ndarray]
    batch: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def watch(self, names: Sequence[str]) -> None:
        """Chooses the tensors that :meth:`run` returns.

        Raises:
            RuntimeFailure: the runtime refuses to give them out.
        """
        ...

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs images; see :meth:`edgevit.runtimes.session.Session.run`.

        Returns:
            The watched tensors by name: float32 B and the elements of one image, dequantised.
        """
        ...


def open_tap(path: Path) -> Tap:
    """Opens a file so that what is between its layers can be read. It need not be sealed.

    LiteRT runs with its own kernels, since XNNPACK keeps its tensors to itself; onnxruntime with
    its optimisations as far as the tensors that are watched leave room for them.

    Raises:
        ConfigError: a SavedModel.
        ModelFileError: no such file, or of no known kind.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    kind = detect_format(path)
    if kind is Format.TFLITE:
        from edgevit.runtimes.litert_tap import LiteRTTap

        return LiteRTTap(path)
    if kind is Format.ONNX:
        from edgevit.runtimes.onnxruntime_tap import OnnxRuntimeTap

        return OnnxRuntimeTap(path)
    raise ConfigError(
        f"{path}: a SavedModel keeps Keras' own operations and gives no tensor between them out. "
        "Export the same model to tflite-float32 or onnx-float32 and look into that."
    )
