"""What every runtime offers, and the one place where pixels become a file's own input type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from edgevit.base.errors import ConfigError, ModelFileError, RuntimeFailure, in_one_line
from edgevit.core.manifest import Manifest
from edgevit.core.metadata import EmbeddedMetadata
from edgevit.core.reference import ReferenceSet
from edgevit.core.tensors import Preprocess, TensorSpec


class Session(Protocol):
    """An exported file, loaded in a runtime. A context manager.

    Attributes:
        path: the file.
        runtime: name of runtime and kernel set, such as "litert-xnnpack".
        inputs: as the file declares them.
        outputs: likewise, with their own (perhaps integer) types.
        metadata: text documents that travel inside the file, by key.
    """

    path: Path
    runtime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]

    @property
    def manifest(self) -> Manifest | None:
        """See :attr:`EmbeddedMetadata.manifest`."""
        ...

    @property
    def reference(self) -> ReferenceSet:
        """See :attr:`EmbeddedMetadata.reference`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs a batch of any size.

        Args:
            images: uint8 B H W 3 raw pixels; or the file's own input as it declares it.

        Returns:
            float32 arrays by output name, dequantised, first axis B.

        Raises:
            ConfigError: images of the wrong shape or type.
            RuntimeFailure: the runtime refused.
        """
        ...

    def bind(self, batch: np.ndarray) -> Callable[[], object]:
        """Hands a batch over once; each call of what it returns is one inference of it.

        What is called converts nothing, so its time is the runtime's own. It returns when the
        outputs are there.

        Args:
            batch: of the file's own input type and size.

        Raises:
            RuntimeFailure: the runtime refused.
        """
        ...


class BatchedSession(EmbeddedMetadata, ABC):
    """Any batch in, chunks of the file's own batch to the runtime, float32 out.

    A runtime's file implements :meth:`run_chunk`, fills the attributes and may override
    ``close``.
    """

    runtime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantization: tuple[float, int] | None = None  # (scale, zero point) of an integer input

    @abstractmethod
    def run_chunk(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Runs exactly one batch of the file's own size and input type; float32 results."""

    def bind(self, batch: np.ndarray) -> Callable[[], object]:
        """See :meth:`Session.bind`."""
        return lambda: self.run_chunk(batch)

    def close(self) -> None:
        """Frees the runtime."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """See :meth:`Session.run`."""
        images = np.asarray(images)
        spec = self.inputs[0]
        if images.ndim != len(spec.shape):
            raise ConfigError(self._refusal(images))
        if len(images) == 0:
            raise ConfigError(f"{self.path.name}: a batch of no images cannot be run.")
        ready = self._prepare(images)
        size = spec.shape[0] or len(ready)
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(ready), size):
            chunk = ready[start : start + size]
            missing = size - len(chunk)
            if missing:  # the last chunk of a fixed batch is filled up and cut again
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
            result = self.run_chunk(np.ascontiguousarray(chunk))
            parts.append({name: value[: size - missing] for name, value in result.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @cached_property
    def contract(self) -> Preprocess | None:
        """The preprocessing that a file leaves to its caller, as its manifest says; None: none.

        Raises:
            ModelFileError: the manifest is damaged.
        """
        found = self.manifest
        return found.preprocess if found and not found.preprocess_inside else None

    def _refusal(self, images: np.ndarray) -> str:
        sizes = ["any" if size is None else str(size) for size in self.inputs[0].shape[1:]]
        return (
            f"{self.path.name} takes {self.inputs[0].dtype} images of shape B {' '.join(sizes)}. "
            f"Received: {images.dtype} {images.shape}"
        )

    def _prepare(self, images: np.ndarray) -> np.ndarray:
        spec = self.inputs[0]
        raw = images.dtype == np.uint8
        if raw and self.contract is not None:
            images = self.contract.apply(images)
        wanted = np.dtype(spec.dtype)
        sizes = spec.shape[1:]
        if any(w is not None and w != g for w, g in zip(sizes, images.shape[1:], strict=True)):
            raise ConfigError(self._refusal(images))
        if images.dtype == wanted:
            return images
        if wanted.kind == "f" and images.dtype.kind in "fu":
            return images.astype(wanted)
        if wanted.kind in "iu" and images.dtype.kind in "fu" and self.quantization:
            scale, zero = self.quantization
            limits = np.iinfo(wanted)
            levels = np.rint(images.astype(np.float64) / scale) + zero
            return np.clip(levels, limits.min, limits.max).astype(wanted)
        raise ConfigError(self._refusal(images))


def image_size(session: Session) -> tuple[int, int]:
    """(rows, columns) of the raw images that a file is made for, as its manifest says.

    Without a manifest it is the size of its input; 32 where a size is free.

    Raises:
        ModelFileError: it takes no images, or its manifest is damaged.
    """
    shape = session.inputs[0].shape
    if len(shape) != 4 or shape[-1] not in (3, None):
        raise ModelFileError(f"{session.path}: takes {shape}, not images of shape B H W 3.")
    if session.manifest and session.manifest.preprocess:
        return session.manifest.preprocess.input_size
    return shape[1] or 32, shape[2] or 32


def draw_input(session: Session, batch: int | None, seed: int = 0) -> np.ndarray:
    """Noise of the type and shape that a file takes; free sizes but the batch become 32.

    Args:
        session: the file.
        batch: images; None: the file's own, 1 where that is free.
        seed: of the noise.

    Returns:
        The file's own input type, B and its sizes; 0..1 in floats, the whole range in bytes.

    Raises:
        ConfigError: the file's batch is fixed, and another.
    """
    spec = session.inputs[0]
    fixed = spec.shape[0] if spec.shape else 1
    if batch is not None and fixed is not None and batch != fixed:
        raise ConfigError(
            f"{session.path.name}: its batch is fixed to {fixed}, so it cannot run {batch} at "
            "once. Export it with --batch dynamic."
        )
    shape = (batch or fixed or 1, *(size or 32 for size in spec.shape[1:]))
    rng = np.random.default_rng(seed)
    kind = np.dtype(spec.dtype)
    if kind.kind == "f":
        return rng.random(shape, dtype=np.float32).astype(kind)
    limits = np.iinfo(kind) if kind.itemsize == 1 else np.iinfo(np.int8)
    return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def dequantize(values: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """float32 values of integer levels; as they are where the scale is 0, for no levels."""
    if values.dtype.kind in "iu" and scale:
        return (values.astype(np.float32) - zero) * np.float32(scale)
    return values.astype(np.float32)


def load_failure(path: Path, runtime: str, error: Exception) -> RuntimeFailure:
    """One clear line for a file that a runtime refuses."""
    reason = in_one_line(error, 200) or type(error).__name__
    return RuntimeFailure(
        f"{path}: {runtime} cannot load it ({reason}). The file is damaged or of another format; "
        "export it again."
    )
