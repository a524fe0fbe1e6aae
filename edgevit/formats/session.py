"""Sessions: what every runtime offers; pixels become a file's own input type here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

import numpy as np

from edgevit.base.errors import ConfigError, ModelFileError, RuntimeFailure, in_one_line
from edgevit.core.manifest import Manifest
from edgevit.core.metadata import EmbeddedMetadata
from edgevit.core.reference import ReferenceSet
from edgevit.core.samples import Inputs
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
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

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs a batch of any size.

        Args:
            inputs: B ... by the name of the input: raw pixels (uint8 B H W C), or what the file
                declares; floats where a file takes integers with a scale. The only input may come
                without its name.

        Returns:
            float32 arrays by output name, in the file's order, dequantised, first axis B.

        Raises:
            ConfigError: an input is missing, or has the wrong shape or type.
            RuntimeFailure: the runtime refused.
        """
        ...

    def bind(self, batch: Inputs) -> Callable[[], object]:
        """Hands a batch over once; each call of what it returns is one inference of it.

        What is called converts nothing, so its time is the runtime's own. It returns when the
        outputs are there.

        Args:
            batch: of the file's own input types and sizes.

        Raises:
            RuntimeFailure: the runtime refused.
        """
        ...


class BatchedSession(EmbeddedMetadata, ABC):
    """Any batch in, chunks of the file's own batch to the runtime, float32 out.

    A runtime's file implements :meth:`run_chunk` and :meth:`bind_batch`, fills the attributes and
    may override ``close``.

    Attributes:
        quantization: (scale, zero point) of the integer inputs that have one, by name.
    """

    runtime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantization: Mapping[str, tuple[float, int]] = MappingProxyType({})

    @abstractmethod
    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs exactly one batch of the file's own size and input types; float32 results."""

    def bind_batch(self, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        """See :meth:`Session.bind`; every input is there by name."""
        return lambda: self.run_chunk(batch)

    def bind(self, batch: Inputs) -> Callable[[], object]:
        """See :meth:`Session.bind`."""
        return self.bind_batch(self._by_name(batch))

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

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """See :meth:`Session.run`."""
        given = self._by_name(inputs)
        for spec in self.inputs:
            if given[spec.name].ndim != len(spec.shape):
                raise ConfigError(self._refusal(spec, given[spec.name]))
        lengths = {name: len(values) if values.ndim else 1 for name, values in given.items()}
        total = next(iter(lengths.values()))
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"{self.path.name}: inputs of different lengths: {lengths}.")
        if total == 0:
            raise ConfigError(f"{self.path.name}: a batch of no images cannot be run.")
        ready = {spec.name: self._prepare(spec, given[spec.name]) for spec in self.inputs}
        first = self.inputs[0].shape
        size = (first[0] if first else 1) or total
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, total, size):
            missing = max(0, start + size - total)
            chunk = {
                name: np.ascontiguousarray(_fill_up(values[start : start + size], missing))
                for name, values in ready.items()
            }
            result = self.run_chunk(chunk)
            parts.append({name: value[: size - missing] for name, value in result.items()})
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part.pop(name) for part in parts]) for name in [*parts[0]]}

    @cached_property
    def preparations(self) -> dict[str, Preprocess]:
        """The preprocessing that a file leaves to its caller, by input, as its manifest says.

        Raises:
            ModelFileError: the manifest is damaged.
        """
        found = self.manifest
        if found is None or found.preprocess_inside:
            return {}
        inputs = found.model_signature.inputs
        return {spec.name: spec.preparation for spec in inputs if spec.preparation}

    def _by_name(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Every input by its name.

        Raises:
            ConfigError: one is missing, or there is no such input.
        """
        names = [spec.name for spec in self.inputs]
        if not isinstance(inputs, Mapping):
            if len(names) > 1:
                raise ConfigError(
                    f"{self.path.name} takes {len(names)} inputs ({', '.join(names)}). Give a dict "
                    "of arrays by name. Received: one array"
                )
            return {names[0]: np.asarray(inputs)}
        if len(names) == 1 and len(inputs) == 1:  # the only one goes by any name
            return {names[0]: np.asarray(next(iter(inputs.values())))}
        if set(inputs) != set(names):
            raise ConfigError(
                f"{self.path.name} takes the inputs {', '.join(names)}. Received: "
                f"{', '.join(map(str, inputs))}"
            )
        return {name: np.asarray(inputs[name]) for name in names}

    def _refusal(self, spec: TensorSpec, values: np.ndarray) -> str:
        sizes = ["any" if size is None else str(size) for size in spec.shape[1:]]
        noun = "images" if len(spec.shape) == 4 else "values"
        whose = f" for {spec.name!r}" if len(self.inputs) > 1 else ""
        return (
            f"{self.path.name} takes {spec.dtype} {noun} of shape B {' '.join(sizes)}{whose}. "
            f"Received: {values.dtype} {values.shape}"
        )

    def _prepare(self, spec: TensorSpec, values: np.ndarray) -> np.ndarray:
        if values.dtype == np.uint8 and spec.name in self.preparations:
            values = self.preparations[spec.name].apply(values)
        wanted = np.dtype(spec.dtype)
        sizes = spec.shape[1:]
        if any(w is not None and w != g for w, g in zip(sizes, values.shape[1:], strict=True)):
            raise ConfigError(self._refusal(spec, values))
        if values.dtype == wanted:
            return values
        if wanted.kind == "f" and values.dtype.kind in "fu":
            return values.astype(wanted)
        floats = values.dtype.kind == "f"
        if spec.name in self.quantization and (values.dtype == np.uint8 or floats):
            scale, zero = self.quantization[spec.name]
            raw = wanted == np.uint8 and (scale, zero) == (1.0, 0)
            if floats and raw:  # whoever has pixels as floats scaled them before
                raise ConfigError(self._refusal(spec, values))
            if floats and not np.isfinite(values).all():
                raise ConfigError(
                    f"{self.path.name}: {spec.name!r} holds NaN or infinity, which no integer is."
                )
            limits = np.iinfo(wanted)
            levels = np.rint(values.astype(np.float64) / scale) + zero
            return np.clip(levels, limits.min, limits.max).astype(wanted)
        indices = wanted.kind in "iu" and wanted.itemsize > 1 and spec.name not in self.quantization
        if indices and values.dtype.kind in "iu":
            limits = np.iinfo(wanted)
            if values.min() >= limits.min and values.max() <= limits.max:
                return values.astype(wanted)
        raise ConfigError(self._refusal(spec, values))


def _fill_up(values: np.ndarray, missing: int) -> np.ndarray:
    """The last chunk of a fixed batch is filled up, and what comes of it cut again."""
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


def read_signature(session: Session) -> Signature:
    """What a file's inputs and outputs mean, as its manifest says.

    Without a manifest nothing is known but names, shapes and types.

    Raises:
        ModelFileError: the manifest is damaged.
    """
    known: Signature | None = getattr(session, "signature", None)  # of a matched file
    if known is not None:
        return known
    if session.manifest:
        return session.manifest.model_signature
    return Signature(
        tuple(InputSpec(spec.name, spec.shape, spec.dtype) for spec in session.inputs),
        tuple(
            OutputSpec(spec.name, spec.shape, spec.dtype, Role.LOGITS if not place else Role.MAP)
            for place, spec in enumerate(session.outputs)
        ),
    )


def image_size(session: Session) -> tuple[int, int]:
    """(rows, columns) of the raw images that a file is made for; see :func:`find_picture`."""
    rows, columns = find_picture(session).raw_shape[-3:-1]
    return rows or 32, columns or 32


def find_picture(session: Session) -> InputSpec:
    """The one input that takes pictures.

    Raises:
        ModelFileError: the file takes none, or more than pictures, or its manifest is damaged.
    """
    inputs = read_signature(session).inputs
    found = [spec for spec in inputs if len(spec.shape) == 4]
    if len(inputs) != 1 or len(found) != 1:
        listed = "; ".join(f"{spec.name} {spec.shape}" for spec in inputs)
        raise ModelFileError(
            f"{session.path}: takes {listed}, not one picture of shape B H W C. Its Python session "
            "takes arrays: edgevit.open_session(FILE).run({name: array})."
        )
    return found[0]


def draw_input(session: Session, batch: int | None, seed: int = 0) -> dict[str, np.ndarray]:
    """Noise of the types and shapes that a file takes; free sizes but the batch become 32.

    Args:
        session: the file.
        batch: images; None: the file's own, 1 where that is free.
        seed: of the noise.

    Returns:
        By the name of the input: its own type, B and its sizes; 0..1 in floats, the whole range in
        bytes, 0 and 1 in indices.

    Raises:
        ConfigError: the file's batch is fixed, and another.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for spec in session.inputs:
        fixed = spec.shape[0] if spec.shape else 1
        if batch is not None and fixed is not None and batch != fixed:
            raise ConfigError(
                f"{session.path.name}: its batch is fixed to {fixed}, so it cannot run {batch} at "
                "once. Export it with --batch dynamic."
            )
        shape = (batch or fixed or 1, *(size or 32 for size in spec.shape[1:]))
        kind = np.dtype(spec.dtype)
        if kind.kind == "f":
            found[spec.name] = rng.random(shape, dtype=np.float32).astype(kind)
        elif kind.itemsize == 1:
            limits = np.iinfo(kind)
            found[spec.name] = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
        else:
            found[spec.name] = rng.integers(0, 2, shape).astype(kind)
    return found


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
