"""Files that others made, held against the float model that the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.progress import Status
from edgevit.core.manifest import Manifest
from edgevit.core.reference import ReferenceSet
from edgevit.core.runtime import Runtime
from edgevit.core.samples import Inputs
from edgevit.core.signature import Role, Signature
from edgevit.core.tensors import find_scaling
from edgevit.formats.registry import TARGETS, find_runtime
from edgevit.formats.session import Session
from edgevit.frontend.source import Source
from edgevit.verification.matching import Matched, Matching, match
from edgevit.verification.parity import Check, check_file


def matched(source: Source, lines: list[str]) -> Callable[[Any], Any]:
    """A function that lets a session, or a reader, of another tool's file go by the model's names.

    Args:
        source: the float model.
        lines: what was matched is appended, for people.
    """

    def wrap(session: Any) -> Any:
        found: Matching = match(session, source.signature)
        lines.extend(line for line in found.lines() if line not in lines)
        return Matched(session, found, source.signature, source.prepare)

    return wrap


def as_exported(source: Source, manifest: Manifest, against: str | Path) -> Source:
    """The float model that a file was exported from, with the inputs and outputs of the file.

    Args:
        source: what the user named.
        manifest: of the file.
        against: how the user named it.

    Raises:
        ConfigError: it has other weights, or takes inputs of another size.
    """
    if source.weights_sha256 != manifest.weights_sha256:
        raise ConfigError(f"{against}: these are not the weights that the file was exported from.")
    check_sizes(source, manifest, against)
    known, own = manifest.model_signature, source.signature
    if [spec.name for spec in known.outputs] != [spec.name for spec in own.outputs]:
        known = Signature(known.inputs, own.outputs)  # files from before name some otherwise
    return replace(source, signature=known)


def check_sizes(source: Source, manifest: Manifest, named: object) -> None:
    """Refuses a float model that has a file's weights and takes inputs of another size.

    Raises:
        ConfigError: it is one.
    """
    known = {spec.name: spec.shape for spec in manifest.model_signature.inputs}
    for spec in source.signature.inputs:
        sizes = known.get(spec.name, spec.shape)
        both = zip(sizes, spec.shape, strict=False)
        if len(sizes) != len(spec.shape) or any(
            one != other for one, other in both if None not in (one, other)
        ):
            raise ConfigError(
                f"{named}: takes {spec.name!r} of the shape {spec.shape}, where the file was "
                f"exported from a model that takes {sizes}."
            )


def find_scores(signature: Signature, names: tuple[str, ...]) -> Signature:
    """The signature of another tool's file, whose scores have a column for each class name."""
    fitting = [spec.name for spec in signature.outputs if names and spec.shape[-1] == len(names)]
    if not fitting:
        return signature
    return only_scores(signature, fitting[0])


def only_scores(signature: Signature, name: str) -> Signature:
    """The signature with one output of scores; the others could be anything."""
    outputs = tuple(
        spec if spec.name == name and spec.role is Role.PROBABILITIES
        else replace(spec, role=Role.LOGITS if spec.name == name else Role.MAP)
        for spec in signature.outputs
    )  # fmt: skip
    return Signature(signature.inputs, outputs)


def scale_inputs(inputs: Inputs, scaling: str | None) -> Inputs:
    """Raw pixels as a file of another tool wants them.

    Args:
        inputs: B H W C of 0..255, by name or alone.
        scaling: a key of :data:`edgevit.core.tensors.SCALINGS`; None: as they are.

    Returns:
        float32, or the inputs themselves.
    """
    if scaling is None:
        return inputs
    if isinstance(inputs, Mapping):
        return {name: scale_pixels(values, scaling) for name, values in inputs.items()}
    return scale_pixels(inputs, scaling)


def scale_pixels(pixels: np.ndarray, scaling: str) -> np.ndarray:
    """float32 of the same shape."""
    wanted = find_scaling(scaling).of_channels(pixels.shape[-1])
    scale, offset = (np.array(side, np.float32) for side in (wanted.scale, wanted.offset))
    scaled = pixels.astype(np.float32) * scale + offset
    return np.ascontiguousarray(scaled[..., ::-1] if wanted.reversed else scaled)


def choose_runtimes(first: Runtime, asked: bool) -> list[Runtime]:
    """The runtimes that judge a file whose target nobody knows: those of its format's targets.

    Args:
        first: the runtime that is asked for, or the usual one.
        asked: whether the user named it.
    """
    if asked:
        return [first]
    own = next(target for target in TARGETS.values() if target.format is first.format)
    return [find_runtime(name) for name in own.runtimes]


def check_foreign(
    path: Path,
    rows: list[Runtime],
    source: Source,
    reference: ReferenceSet,
    status: Status,
    telling: int | None = None,
) -> tuple[Check, list[str]]:
    """(what :func:`check_file` found, what was matched with what); arguments as there.

    Raises:
        ConfigError: an input or output of the model is not in the file.
        RuntimeFailure: a runtime refuses the file.
    """
    lines: list[str] = []
    wrap = cast(Callable[[Session], Session], matched(source, lines))
    return check_file(path, rows, reference, status, wrap=wrap, telling=telling), lines
