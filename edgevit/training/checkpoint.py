"""Resumable training state: everything that the next epoch depends on, in one file."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgevit.base.errors import ModelFileError, in_one_line
from edgevit.base.files import write_whole

FILE = "checkpoint.npz"
# What numpy raises at a damaged file; TypeError at one that holds a single array.
DAMAGES = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Checkpoint:
    """A run after some of its epochs.

    Attributes:
        identity: what must be equal for a resume to be the same run (recipe, seed, data, sizes).
        log: one dict for each complete epoch.
        weights: of the network, in ``get_weights`` order.
        optimizer: values of the optimizer's variables, the moving average among them.
    """

    identity: dict[str, Any]
    log: list[dict[str, Any]]
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]

    def restore(self, network: keras.Model, optimizer: keras.Optimizer) -> None:
        """Puts the values into a network and its optimizer."""
        network.set_weights(self.weights)
        optimizer.build(network.trainable_variables)
        for variable, value in zip(optimizer.variables, self.optimizer, strict=True):
            variable.assign(value)


def write_checkpoint(
    folder: Path, network: keras.Model, optimizer: keras.Optimizer, identity: dict, log: list
) -> None:
    """Replaces the checkpoint of a folder at once.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full; the old file is kept.
    """
    states = [keras.ops.convert_to_numpy(variable) for variable in optimizer.variables]
    arrays: dict[str, Any] = {"state": np.array(json.dumps({"identity": identity, "log": log}))}
    for name, values in (("weight", network.get_weights()), ("optimizer", states)):
        arrays.update({f"{name}_{place:04d}": value for place, value in enumerate(values)})
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_whole(folder / FILE, stream.getvalue())


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Reads the checkpoint of a folder; None where there is none.

    Raises:
        ModelFileError: the file is damaged, or no checkpoint.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = json.loads(str(arrays["state"]))
            weights, optimizer = (
                [arrays[name] for name in sorted(arrays.files) if name.startswith(start)]
                for start in ("weight_", "optimizer_")
            )
        return Checkpoint(state["identity"], state["log"], weights, optimizer)
    except DAMAGES as error:
        reason = in_one_line(error)
        raise ModelFileError(
            f"{path}: the checkpoint is damaged ({reason}). Delete it to start again."
        ) from None
