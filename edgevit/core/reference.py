"""The reference that a file is held against: golden inputs and the float model's outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevit.base.bounds import DRAWN_BYTES, GOLDEN_INPUTS
from edgevit.base.documents import encode_array, from_plain
from edgevit.base.errors import ModelFileError
from edgevit.core.golden_images import GENERATOR
from edgevit.core.golden_inputs import Draw, draw_inputs
from edgevit.core.signature import IMAGES

COUNT = 256
SMALL_BYTES = 4096  # outputs up to this size are recorded on all golden inputs
FEW = 32  # golden inputs that larger outputs are recorded on, at most
LARGE_BYTES = 512 * 1024  # of one larger output, in all
FIRST_BYTES = 64 * 1024  # of the golden inputs that travel inside a file as they are
OWN_BYTES = 512 * 1024  # of the user's own samples that travel inside a file
LOGITS = "logits"  # the first output of documents of the first version
FIRST_VERSION = {"size", "logits", "first_images"}  # fields of these alone


@dataclass(frozen=True)
class Samples:
    """Inputs with what the float model returns for them.

    Attributes:
        inputs: N ... by name, as a caller hands them over.
        outputs: float32 M ... by name, on the first M inputs; large outputs on few.
        labels: int64 N: the class of each input, where it is known.
    """

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def first(self, count: int) -> Samples:
        """The first inputs alone, with the outputs on them."""
        return Samples(
            {name: values[:count] for name, values in self.inputs.items()},
            {name: values[:count] for name, values in self.outputs.items()},
            None if self.labels is None else self.labels[:count],
        )

    @property
    def size_bytes(self) -> int:
        """Of one input with its outputs, in a file."""
        arrays = (*self.inputs.values(), *self.outputs.values())
        return sum(values[:1].nbytes for values in arrays)

    @property
    def fitting(self) -> int:
        """How many of the user's own samples travel inside a file."""
        return min(len(self), OWN_BYTES // max(1, self.size_bytes))


@dataclass(frozen=True)
class _FirstVersion:
    """What files hold that were exported before models had several inputs."""

    generator: str
    seed: int
    count: int
    size: tuple[int, int]
    images_sha256: str
    logits_sha256: str
    logits: np.ndarray
    first_images: np.ndarray
    others: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.first_images) == 0 or self.size != self.first_images.shape[1:3]:
            raise ValueError(f"size {self.size} of images {self.first_images.shape}")


@dataclass(frozen=True)
class _Input:
    """One golden input: how it is drawn, what comes of it, and the first few."""

    draw: Draw
    sha256: str
    first: np.ndarray

    def __post_init__(self) -> None:
        draw, first = self.draw, self.first
        if len(first) == 0 or draw.shape != first.shape[1:] or draw.dtype != first.dtype.name:
            raise ValueError(f"{draw.dtype} {draw.shape} of {first.dtype} {first.shape}")
        if draw.picture and len(draw.shape) not in (3, 4):
            raise ValueError(f"a picture of the shape {draw.shape}")
        if not 0 <= draw.levels < 1 << 31:
            raise ValueError("a number of levels that is none")


@dataclass(frozen=True)
class _Document:
    """What :meth:`ReferenceSet.to_document` writes."""

    generator: str
    seed: int
    count: int
    inputs: dict[str, _Input]
    outputs_sha256: str
    outputs: dict[str, np.ndarray]
    own: Samples | None = None

    @classmethod
    def of_first_version(cls, found: _FirstVersion) -> _Document:
        draw = Draw((*found.size, 3), "uint8", picture=True)
        others = {name: found.others[name] for name in sorted(found.others)}
        return cls(
            found.generator,
            found.seed,
            found.count,
            {IMAGES: _Input(draw, found.images_sha256, found.first_images)},
            found.logits_sha256 if _digest(found.logits) == found.logits_sha256 else "",
            {LOGITS: found.logits, **others},
        )


@dataclass(frozen=True)
class ReferenceSet:
    """Golden inputs with the float model's outputs, recorded when the file was exported.

    Attributes:
        synthetic: drawn inputs.
        draws: how, by the name of the input.
        seed: of the drawing.
        own: the user's own samples, which nothing was calibrated on; None without any.
    """

    synthetic: Samples
    draws: dict[str, Draw]
    seed: int = 0
    own: Samples | None = None

    @property
    def digest(self) -> str:
        """sha256 of all inputs and outputs, as hex."""
        parts = [self.synthetic, *([self.own] if self.own else [])]
        return _digest(
            *(values for part in parts for side in (part.inputs, part.outputs)
              for values in side.values())
        )  # fmt: skip

    def embed(self, samples: bool = True) -> ReferenceSet:
        """As it travels inside a file.

        Args:
            samples: whether the user's own samples travel too, as many as OWN_BYTES hold.
        """
        if self.own is None:
            return self
        count = self.own.fitting
        own = self.own.first(count) if samples and count else None
        return ReferenceSet(self.synthetic, self.draws, self.seed, own)

    def to_document(self) -> dict[str, Any]:
        """What travels inside a file: all outputs, the recipe of the inputs, and the first few.

        The few embedded inputs allow a check where edgevit cannot be installed.
        """
        return {
            "generator": GENERATOR,
            "seed": self.seed,
            "count": len(self.synthetic),
            "inputs": {
                name: {
                    "draw": self.draws[name],
                    "sha256": _digest(values),
                    "first": encode_array(values[: _few(values)]),
                }
                for name, values in self.synthetic.inputs.items()
            },
            "outputs_sha256": _digest(*self.synthetic.outputs.values()),
            "outputs": _encode(self.synthetic.outputs),
            **({"own": _encode_samples(self.own)} if self.own else {}),
        }

    @classmethod
    def from_document(cls, document: Any, name: str) -> ReferenceSet:
        """Draws the inputs again and checks every digest.

        Args:
            document: of :meth:`to_document`, or of the first version.
            name: how errors call the file.

        Raises:
            ModelFileError: damaged, from an unknown generator, or drawn differently here.
        """
        try:
            if isinstance(document, dict) and document.keys() & FIRST_VERSION:
                read = _Document.of_first_version(from_plain(_FirstVersion, document))
                intact = bool(read.outputs_sha256)
            else:
                read = from_plain(_Document, document)
                intact = _digest(*read.outputs.values()) == read.outputs_sha256
            np.random.SeedSequence((read.seed, 0))  # raises for what is no seed
            _check_count(read)
            if not read.inputs or not read.outputs or read.count < 1:
                raise ValueError("it holds no input, or no output")
        except ValueError as error:
            raise ModelFileError(f"{name}: its embedded reference is damaged ({error}).") from None
        if read.generator != GENERATOR:
            raise ModelFileError(
                f"{name}: its golden images come from {read.generator!r}; this version draws "
                f"{GENERATOR!r}. Export it again."
            )
        if not intact or max(map(len, read.outputs.values())) != read.count:
            raise ModelFileError(f"{name}: its embedded reference outputs are damaged.")
        draws = {key: entry.draw for key, entry in read.inputs.items()}
        inputs = draw_inputs(draws, read.count, read.seed)
        for key, entry in read.inputs.items():
            again = np.array_equal(inputs[key][: len(entry.first)], entry.first)
            if _digest(inputs[key]) != entry.sha256 or not again:
                raise ModelFileError(
                    f"{name}: the golden images cannot be drawn again on this machine (numpy "
                    f"{np.__version__}). Verify it with the numpy that is pinned in "
                    "constraints.txt."
                )
        return cls(Samples(inputs, read.outputs), draws, read.seed, read.own)


def _check_count(read: _Document) -> None:
    """Bounds what a document asks to be drawn: it holds one sample of each input, but any count."""
    sample = sum(entry.first[:1].nbytes for entry in read.inputs.values())
    most = max(DRAWN_BYTES, FEW * sample)
    if read.count > GOLDEN_INPUTS or read.count * sample > most:
        raise ValueError(f"{read.count:,} golden inputs of {sample:,} bytes are more than drawn")


def count_recorded(value_bytes: int, count: int) -> int:
    """On how many golden inputs an output is recorded: as many as fit into the metadata.

    Args:
        value_bytes: size of the output for one input.
        count: golden inputs in all.
    """
    if value_bytes <= SMALL_BYTES:
        return count
    return max(1, min(FEW, count, LARGE_BYTES // value_bytes))


def _encode(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: encode_array(values) for name, values in arrays.items()}


def _encode_samples(samples: Samples) -> dict[str, Any]:
    labels = {} if samples.labels is None else {"labels": encode_array(samples.labels)}
    return {"inputs": _encode(samples.inputs), "outputs": _encode(samples.outputs), **labels}


def _few(values: np.ndarray) -> int:
    return max(1, min(8, FIRST_BYTES // max(1, values[0].nbytes)))


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
