"""Files that others made: which of their inputs and outputs are which of the model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.inspection import Inspection
from edgevit.core.samples import Inputs
from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import TensorSpec
from edgevit.core.tolerance import ALL_8BIT, DENSE_8BIT, EXACT, HALF, Tolerance

# Raw inputs by name, as a caller of the model hands them over -> as the network takes them.
Prepare = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Pair:
    """One input or output of a file, and the model's.

    Attributes:
        file: its name in the file.
        model: its name in the model.
        by: what they were matched by: "name", "shape" or "order".
    """

    file: str
    model: str
    by: str


@dataclass(frozen=True)
class Matching:
    """A file's inputs and outputs beside the model's.

    Attributes:
        inputs: in the model's order.
        outputs: likewise.
        raw: names of the model's inputs that the file takes as raw pixels.
    """

    inputs: tuple[Pair, ...]
    outputs: tuple[Pair, ...]
    raw: frozenset[str]

    def lines(self) -> list[str]:
        """What was matched, for people."""
        return [
            f"{noun} {pair.file!r} of the file is {pair.model!r} of the model (by {pair.by})"
            for noun, pairs in (("input", self.inputs), ("output", self.outputs))
            for pair in pairs
        ]


def match(session: Any, signature: Signature) -> Matching:
    """Finds each of the model's inputs and outputs in a file.

    Args:
        session: the opened file.
        signature: of the model.

    Raises:
        ConfigError: one of them is not there.
    """
    name = session.path.name
    entering = [(spec.name, (*spec.shape[1:],), spec.raw_shape) for spec in signature.inputs]
    leaving = [(spec.name, (*spec.shape[1:],), spec.shape[1:]) for spec in signature.outputs]
    inputs = _pair(name, "input", entering, session.inputs)
    outputs = _pair(name, "output", leaving, session.outputs)
    by_name = {spec.name: spec for spec in session.inputs}
    pairs = zip(signature.inputs, inputs, strict=True)
    raw = [spec.name for spec, pair in pairs if _takes_pixels(session, by_name[pair.file], spec)]
    return Matching(inputs, outputs, frozenset(raw))


def _takes_pixels(session: Any, declared: TensorSpec, spec: InputSpec) -> bool:
    """Whether a file takes raw pixels: bytes, one level each."""
    if spec.preparation is None or declared.dtype != "uint8":
        return False
    scale, zero = session.quantization.get(declared.name, (1.0, 0))
    return (float(scale), int(zero)) == (1.0, 0)


def _pair(
    file: str,
    noun: str,
    wanted: Sequence[tuple[str, tuple[int | None, ...], tuple[int | None, ...]]],
    declared: Sequence[TensorSpec],
) -> tuple[Pair, ...]:
    free = list(declared)
    found: dict[str, Pair] = {}
    for model, _, _ in wanted:
        same = [spec for spec in free if _plain(spec.name) == _plain(model)]
        if len(same) == 1:
            found[model] = Pair(same[0].name, model, "name")
            free.remove(same[0])
    for model, shape, raw in wanted:
        if model in found:
            continue
        fitting = [spec for spec in free if _fits(spec, shape) or _fits(spec, raw)]
        if not fitting:
            listed = ", ".join(f"{spec.name} {spec.shape}" for spec in declared)
            sizes = " ".join(map(str, shape))
            raise ConfigError(
                f"{file}: none of its {noun}s ({listed}) is the model's {model!r} of shape B "
                f"{sizes}. Is this the model that the file was made of?"
            )
        found[model] = Pair(fitting[0].name, model, "shape" if len(fitting) == 1 else "order")
        free.remove(fitting[0])
    return tuple(found[model] for model, _, _ in wanted)


def _plain(name: str) -> str:
    """A name without what converters put around it."""
    name = name.removeprefix("serving_default_").partition(":")[0]
    return name.lower().replace("-", "_").strip("/")


def _fits(spec: TensorSpec, shape: tuple[int | None, ...]) -> bool:
    sizes = spec.shape[1:]
    return len(sizes) == len(shape) and all(
        a is None or b is None or a == b for a, b in zip(sizes, shape, strict=True)
    )


class Matched:
    """A session, or a reader of intermediate tensors, that goes by the model's names.

    Args:
        session: the opened file.
        matching: of its inputs and outputs.
        signature: of the model.
        prepare: raw inputs to what the network takes; a file takes these, or raw pixels.
    """

    def __init__(self, session: Any, matching: Matching, signature: Signature, prepare: Prepare):
        self._session = session
        self._matching = matching
        self._signature = signature
        self._prepare = prepare

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def signature(self) -> Signature:
        """Of the model."""
        return self._signature

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """As :meth:`edgevit.formats.session.Session.run`, by the model's names."""
        specs = self._signature.inputs
        given = inputs if isinstance(inputs, Mapping) else {specs[0].name: inputs}
        ready = dict(zip([spec.name for spec in specs], self._prepare(given), strict=True))
        feed = {
            pair.file: given[pair.model] if pair.model in self._matching.raw else ready[pair.model]
            for pair in self._matching.inputs
        }
        found = self._session.run(feed)
        names = {pair.file: pair.model for pair in self._matching.outputs}
        if not names.keys() <= found.keys():  # a reader returns tensors of its own choice
            return dict(found)
        return {pair.model: found[pair.file] for pair in self._matching.outputs}


def guess_tolerance(inspection: Inspection) -> Tolerance:
    """How far a file may be from the float model, by what it holds.

    A file of another tool does not say in which precision it computes.
    """
    types = inspection.tensor_types
    if inspection.integer_only:
        return ALL_8BIT
    if any(types.get(kind, 0) for kind in ("int8", "uint8", "int4", "int16")):
        quantises = any("QUANTIZE" in op.upper() for op in inspection.ops)
        return ALL_8BIT if quantises else DENSE_8BIT
    return HALF if types.get("float16", 0) else EXACT
