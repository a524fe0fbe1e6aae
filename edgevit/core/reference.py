"""The reference that a file is held against: golden images and the float model's outputs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevit.base.documents import encode_array, from_plain
from edgevit.base.errors import ModelFileError
from edgevit.core.golden_images import GENERATOR, draw_images

COUNT = 256
EMBEDDED_BYTES = 64 * 1024
OTHERS = 32
OTHERS_BYTES = 512 * 1024


@dataclass(frozen=True)
class _Document:
    """What :meth:`ReferenceSet.to_document` writes."""

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
        np.random.SeedSequence((self.seed, 0))  # raises for what is no seed


@dataclass(frozen=True)
class ReferenceSet:
    """Images with the float model's outputs, recorded when the file was exported.

    Attributes:
        images: uint8 N H W 3, drawn by :mod:`edgevit.core.golden_images`.
        logits: float32 N classes.
        seed: of the drawing.
        others: float32 M ... of every further output, by name, on the first M images.
    """

    images: np.ndarray
    logits: np.ndarray
    seed: int = 0
    others: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 of images, logits and further outputs, as hex."""
        return _digest(
            self.images, self.logits, *(self.others[name] for name in sorted(self.others))
        )

    def first(self, count: int) -> ReferenceSet:
        """The first images alone, with the outputs on them."""
        others = {name: values[:count] for name, values in self.others.items()}
        return ReferenceSet(self.images[:count], self.logits[:count], self.seed, others)

    def to_document(self) -> dict[str, Any]:
        """What travels inside a file: all logits, the recipe of the images, and the first few.

        The few embedded images allow a check where edgevit cannot be installed.
        """
        few = max(1, min(8, EMBEDDED_BYTES // max(1, self.images[0].nbytes)))
        others = {name: encode_array(self.others[name]) for name in sorted(self.others)}
        return {
            "generator": GENERATOR,
            "seed": self.seed,
            "count": len(self.images),
            "size": list(self.images.shape[1:3]),
            "images_sha256": _digest(self.images),
            "logits_sha256": _digest(self.logits),
            "logits": encode_array(self.logits),
            "first_images": encode_array(self.images[:few]),
            **({"others": others} if others else {}),
        }

    @classmethod
    def from_document(cls, document: Any, name: str) -> ReferenceSet:
        """Draws the images again and checks every digest.

        Args:
            document: of :meth:`to_document`.
            name: how errors call the file.

        Raises:
            ModelFileError: damaged, from an unknown generator, or drawn differently here.
        """
        try:
            read = from_plain(_Document, document)
        except ValueError as error:
            raise ModelFileError(f"{name}: its embedded reference is damaged ({error}).") from None
        if read.generator != GENERATOR:
            raise ModelFileError(
                f"{name}: its golden images come from {read.generator!r}; this version draws "
                f"{GENERATOR!r}. Export it again."
            )
        if _digest(read.logits) != read.logits_sha256 or len(read.logits) != read.count:
            raise ModelFileError(f"{name}: its embedded reference logits are damaged.")
        images, few = draw_images(read.count, read.size, read.seed), read.first_images
        if _digest(images) != read.images_sha256 or not np.array_equal(images[: len(few)], few):
            raise ModelFileError(
                f"{name}: the golden images cannot be drawn again on this machine (numpy "
                f"{np.__version__}). Verify it with the numpy that is pinned in constraints.txt."
            )
        return cls(images, read.logits, read.seed, read.others)


def count_others(value_bytes: int, images: int) -> int:
    """On how many golden images a further output is recorded: as many as fit into the metadata.

    Args:
        value_bytes: size of the output for one image.
        images: golden images in all.
    """
    return max(1, min(OTHERS, images, OTHERS_BYTES // max(1, value_bytes)))


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
