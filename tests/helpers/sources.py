"""Sources of networks that a test made, without preprocessing inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevit.core.signature import IMAGES, InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess
from edgevit.frontend.source import Source


def signature_of(
    preprocess: Preprocess | None, outputs: Mapping[str, tuple[int | None, ...]]
) -> Signature:
    """One picture as input; the first output tells classes apart."""
    contract = preprocess or Preprocess()
    shape = (None, *contract.network_size, contract.channels)
    specs = tuple(
        OutputSpec(name, sizes, "float32", Role.MAP if place else Role.LOGITS)
        for place, (name, sizes) in enumerate(outputs.items())
    )
    return Signature((InputSpec(IMAGES, shape, "float32", preprocess),), specs)


def source_of(
    network: Any,
    preprocess: Preprocess | None = None,
    name: str = "",
    digest: str = "00",
    folder: Path | None = None,
    **more: Any,
) -> Source:
    """The source of a network of one picture that returns a dict of outputs by name.

    Args:
        network: a model, or None where nothing runs it.
        preprocess: what happens to its pixels; None: nothing but that they become floats.
        name: of the source; the network's own by default.
        digest: of its weights.
        folder: where they lie.
        **more: further fields of the source.
    """
    if preprocess is None and network is not None:
        size = tuple(network.inputs[0].shape[1:3])
        preprocess = Preprocess(size, size)
    tensors = {"logits": None} if network is None else network.output
    outputs = {key: tuple(getattr(value, "shape", (None, 2))) for key, value in tensors.items()}
    return Source(
        name or (network.name if network is not None else "net"),
        network,
        signature_of(preprocess, outputs),
        "classification",
        (),
        digest,
        folder=folder,
        **more,
    )
