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
        finish: text documents by key -> None; writes the file to its staged place, with the
            documents inside.
    """

    steps: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    finish: Callable[[Mapping[str, str]], None]
