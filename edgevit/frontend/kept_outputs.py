"""Outputs of the float model that an earlier run recorded, where nothing can have changed.

The key of an entry names all that outputs depend on: weights, layers, inputs, this package's
layers, the frameworks and the processor. Only networks of Keras' own layers and of this package's
are kept, since nothing says whether somebody's code is still the same. And whatever the key says,
what is read is held against the float model itself on the first inputs.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevit.base.processor import describe_processor
from edgevit.base.store import Store
from edgevit.base.versions import tool_versions
from edgevit.frontend.compiled import FIRST, are_close
from edgevit.frontend.source import Source

if TYPE_CHECKING:
    import keras

CODE = ("layers", "models", "frontend")  # rooms whose code decides what a float model computes
# Layers of Keras' own that run somebody else's code, or a file that may change.
OPAQUE = {"FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"}
SAME = 2e-5  # of the largest output: a batch of another size is rounded otherwise


def read_outputs(
    store: Store, key: str, source: Source, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """Outputs that were kept; None where there are none, or the model returns others.

    Args:
        store: where.
        key: of :func:`name_outputs`.
        source: the model.
        inputs: N ... by name, as a caller hands them over.
    """
    found = store.read(key)
    if found is None:
        return None
    expected = source.call(
        source.prepare({name: values[:FIRST] for name, values in inputs.items()})
    )
    if found.keys() != expected.keys():
        return None
    first = {name: values[:FIRST] for name, values in found.items()}
    return found if are_close(first, expected, SAME) else None


def name_outputs(source: Source, inputs: Mapping[str, np.ndarray]) -> str | None:
    """The key of a model's outputs for some inputs; None for a model that is not kept."""
    layers = _describe_layers(source.network)
    if layers is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(inputs):
        values = np.ascontiguousarray(inputs[name])
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    described = (
        source.weights_sha256,
        repr(source.signature),
        layers,
        digest.hexdigest(),
        _digest_code(),
        sorted(tool_versions("keras", "tensorflow", "numpy").items()),
        _describe_kernels(),
    )
    return hashlib.sha256(repr(described).encode()).hexdigest()


def _describe_layers(network: keras.Model) -> str | None:
    """The layers with all that they are built from; None if one of them is somebody's own."""
    import keras

    layers = (network, *network._flatten_layers())
    between = (getattr(layer, "operations", ()) for layer in layers)  # of functional models
    kinds = {type(part) for part in itertools.chain(layers, *between)}
    roots = {kind.__module__.partition(".")[0] for kind in kinds}
    if roots - {"keras", "edgevit"} or OPAQUE & {kind.__name__ for kind in kinds}:
        return None
    try:
        return json.dumps(keras.saving.serialize_keras_object(network), sort_keys=True)
    except Exception:  # whatever the config of a layer raises
        return None


@functools.cache
def _digest_code() -> str:
    """Of the files of this package that decide what a float model computes."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for room in CODE:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _describe_kernels() -> list[str]:
    """What the frameworks' choice of kernels depends on."""
    import keras

    processor = describe_processor()
    chosen = [f"{name}={os.environ.get(name)}" for name in ("TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS")]
    return [keras.backend.backend(), processor.model, *sorted(processor.flags), *chosen]
