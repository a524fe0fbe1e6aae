"""What a writer of any format returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgevit.core.tensors import TensorSpec


@dataclass(frozen=True)
class Written:
    """A lowered model whose file is not finished: the documents that travel inside it are missing.

    Attributes:
        steps: what was done, for the manifest.
        inputs: as the file's runtime will declare them.
        outputs: likewise.
        finish: documents by key -> the file's content with them inside. None: the format is a
            folder, which lies at its staged place with them.
    """

    steps: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    finish: Callable[[Mapping[str, str]], bytes | None]
