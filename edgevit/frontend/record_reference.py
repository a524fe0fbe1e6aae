"""Records what the float Keras model returns for golden inputs, and for the user's own samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.base.store import Store
from edgevit.core.golden_inputs import FREE, Draw, draw_inputs
from edgevit.core.reference import COUNT, ReferenceSet, Samples, count_recorded
from edgevit.core.samples import count_samples
from edgevit.frontend.compiled import compile_network
from edgevit.frontend.kept_outputs import name_outputs, read_outputs
from edgevit.frontend.roles import refine_roles
from edgevit.frontend.source import Source
from edgevit.tasks import guess_task

BATCH = 32
BATCH_NUMBERS = 16 * 224 * 224 * 3  # fewer where samples are larger: between layers they are many
NUMBERS = 256 * 32 * 32 * 3  # fewer samples where they are larger, so that an export stays quick
LEAST = 32
WORTH_COMPILING = 3  # batches: tracing costs about as much as two of them, layer by layer


def record_reference(
    source: Source,
    count: int | None = None,
    seed: int = 0,
    own: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray | None = None,
    store: Store | None = None,
) -> ReferenceSet:
    """Draws golden inputs and records what the float network returns for them, in all its outputs.

    Preprocessing runs in numpy, so that an error in the exported graph's own preprocessing shows.

    Args:
        source: the model.
        count: golden inputs; None is 256, fewer for large ones (at least 32).
        seed: of the drawing.
        own: the user's own samples by input name, which are recorded as well.
        labels: int64 N, the classes of these; None where they are unknown.
        store: where outputs are kept from one run to the next; None: they are not.

    Raises:
        ExportError: an output is not finite: the weights are damaged.
    """
    draws = {spec.name: Draw.of(spec) for spec in source.signature.inputs}
    counts = _count_outputs(source, count or _choose_count(draws))
    inputs = draw_inputs(draws, max(counts.values()), seed)
    synthetic = record_samples(source, inputs, counts, store)
    recorded = None
    if own is not None:
        recorded = replace(record_samples(source, own, counts, store), labels=labels)
    return ReferenceSet(synthetic, draws, seed, recorded)


def record_again(source: Source, reference: ReferenceSet) -> ReferenceSet:
    """The inputs of a reference with what a float model returns for them.

    Args:
        source: the model, with the inputs and outputs of the file that carries the reference.
        reference: out of the file.

    Raises:
        ExportError: an output is not finite.
    """

    def again(samples: Samples) -> Samples:
        counts = {name: len(values) for name, values in samples.outputs.items()}
        recorded = record_samples(source, samples.inputs, counts)
        return replace(recorded, labels=samples.labels)

    own = None if reference.own is None else again(reference.own)
    return replace(reference, synthetic=again(reference.synthetic), own=own)


def record_samples(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    counts: Mapping[str, int] | None = None,
    store: Store | None = None,
) -> Samples:
    """Records the float network's outputs for some inputs.

    Args:
        source: the model.
        inputs: N ... by name, as a caller hands them over.
        counts: on how many of them each output is recorded; None: on all.
        store: where outputs are kept from one run to the next; None: they are not.

    Raises:
        ExportError: an output is not finite.
    """
    key = name_outputs(source, inputs) if store else None
    kept = read_outputs(store, key, source, inputs) if store and key else None
    outputs = kept or float_outputs(source, inputs)
    if not all(np.isfinite(values).all() for values in outputs.values()):
        raise ExportError(
            f"{source.name}: the float model itself returns NaN or infinity for golden inputs, so "
            "its weights are damaged. Nothing was exported."
        )
    if store and key and kept is None:
        store.write(key, outputs)
    if counts is not None:
        outputs = {name: outputs[name][:count] for name, count in counts.items()}
    return Samples(dict(inputs), outputs)


def refine_source(source: Source, reference: ReferenceSet, asked: bool) -> Source:
    """The source with what its own outputs say of their roles.

    Args:
        source: the model.
        reference: recorded from it.
        asked: whether the user named the task, which then stays.
    """
    if asked:
        return source
    signature = refine_roles(source.signature, reference.synthetic.outputs)
    if signature == source.signature:
        return source
    return replace(source, signature=signature, task=guess_task(signature).name)


def float_outputs(
    source: Source,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    change: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None,
) -> dict[str, np.ndarray]:
    """Every output of the float Keras network.

    Args:
        source: the model.
        inputs: N ... by name, as a caller hands them over; the only input may come alone.
        change: of what enters the network, prepared, batch by batch; None: none.

    Returns:
        float32 N ... by name, in the model's order.
    """
    given = by_name(source, inputs)
    names = [output.name for output in source.signature.outputs]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    total, size = count_samples(given), _choose_batch(source)
    first = {name: values[:size] for name, values in given.items()}
    compiled = compile_network(source, first) if total >= WORTH_COMPILING * size else None
    for start in range(0, total, size):
        chunk = {name: values[start : start + size] for name, values in given.items()}
        entering = source.prepare(chunk)
        entering = change(entering) if change else entering
        call = compiled if compiled and len(entering[0]) == size else source.call
        for name, values in _to_numpy(call(entering)).items():
            parts[name].append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _to_numpy(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    from keras import ops

    return {
        name: ops.convert_to_numpy(values).astype(np.float32) for name, values in outputs.items()
    }


def by_name(
    source: Source, inputs: Mapping[str, np.ndarray] | np.ndarray
) -> Mapping[str, np.ndarray]:
    """Inputs by name; the only input may come alone."""
    if isinstance(inputs, Mapping):
        return inputs
    return {source.signature.inputs[0].name: inputs}


def _choose_batch(source: Source) -> int:
    numbers = sum(
        math.prod(side or FREE for side in spec.shape[1:]) for spec in source.signature.inputs
    )
    return max(2, min(BATCH, BATCH_NUMBERS // max(1, numbers)))


def _choose_count(draws: Mapping[str, Draw]) -> int:
    numbers = sum(math.prod(draw.shape) for draw in draws.values())
    return max(LEAST, min(COUNT, NUMBERS // max(1, numbers)))


def _count_outputs(source: Source, count: int) -> dict[str, int]:
    """On how many golden inputs each output is recorded."""
    found = {}
    for output in source.signature.outputs:
        size = 4 * math.prod(int(side or 1) for side in output.shape[1:])
        found[output.name] = count_recorded(size, count)
    return found
