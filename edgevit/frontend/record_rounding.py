"""Records what float32 rounding alone makes of a network's outputs.

A network may blow roundings up from layer to layer, so that two right ways to compute it in float32
differ by more than they do in others. How far tells the float model itself: its inputs are moved by
one unit in the last place, up or down at random, and its outputs are held against those before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgevit.core.parity import OutputParity
from edgevit.core.reference import ReferenceSet, Samples
from edgevit.core.tolerance import Rounding, Tolerance
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.source import Source
from edgevit.tasks.measures import compare_outputs

DRAWS = 4  # of what moves up and what down; the larger difference counts


def find_roundings(
    source: Source, reference: ReferenceSet, tolerance: Tolerance
) -> dict[str, Rounding] | None:
    """Outputs that float32 rounding alone moves by more than a tolerance allows for.

    Args:
        source: the float model.
        reference: recorded from it.
        tolerance: of the file that is held against it.

    Returns:
        What rounding makes of them, by name; None where there are none.
    """
    found = record_roundings(source, reference)
    wide = {name: one for name, one in found.items() if tolerance.beside(one) != tolerance}
    return wide or None


def record_roundings(source: Source, reference: ReferenceSet) -> dict[str, Rounding]:
    """What float32 rounding alone makes of each output, on all samples of a reference.

    Args:
        source: the float model.
        reference: recorded from it.
    """
    samples = [reference.synthetic, *([reference.own] if reference.own else [])]
    found = [
        _measure(source, part, np.random.default_rng((draw, 53)))
        for part in samples
        for draw in range(DRAWS)
    ]
    return {
        name: Rounding(
            max(parities[name].relative for parities in found),
            max(parities[name].error for parities in found),
        )
        for name in found[0]
        if all(np.isfinite(parities[name].relative) for parities in found)
    }


def _measure(
    source: Source, samples: Samples, rng: np.random.Generator
) -> Mapping[str, OutputParity]:
    """Outputs of moved inputs against those that were recorded, by name."""
    moved = float_outputs(source, samples.inputs, lambda entering: move_inputs(entering, rng))
    specs = {spec.name: spec for spec in source.signature.outputs}
    return {
        name: compare_outputs(moved[name][: len(expected)], expected, specs[name])
        for name, expected in samples.outputs.items()
    }


def move_inputs(entering: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Every float32 number is moved to the next one, above or below; others stay.

    Args:
        entering: what enters a network.
        rng: draws which way.
    """
    return [
        np.nextafter(values, np.where(rng.integers(0, 2, values.shape) > 0, np.inf, -np.inf),
                     dtype=np.float32)
        if values.dtype == np.float32
        else values
        for values in map(np.asarray, entering)
    ]  # fmt: skip
