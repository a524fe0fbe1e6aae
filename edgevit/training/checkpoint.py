"""Resumable training state: everything that the next step depends on."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgevit.base.errors import ModelFileError
from edgevit.base.files import write_whole

FILE = "checkpoint.npz"


def write_checkpoint(
    folder: Path, model: keras.Model, epoch: int, identity: dict, log: list
) -> None:
    """Writes weights, optimizer state and log after an epoch; the old file is replaced at once.

    Args:
        folder: where the checkpoint lives.
        model: compiled and trained; its optimizer's moving average is part of the state.
        epoch: epochs that are complete.
        identity: what must be equal for a resume to be the same run (recipe, seed, data, sizes).
        log: one dict an epoch.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full; the old file is kept.
    """
    arrays: dict[str, Any] = {
        f"weight_{i:04d}": np.asarray(w) for i, w in enumerate(model.get_weights())
    }
    for i, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer_{i:04d}"] = keras.ops.convert_to_numpy(variable)
    arrays["state"] = np.array(json.dumps({"epoch": epoch, "identity": identity, "log": log}))
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_whole(folder / FILE, stream.getvalue())


def read_state(folder: Path) -> dict | None:
    """{"epoch", "identity", "log"} of the checkpoint in a folder; None where there is none.

    Raises:
        ModelFileError: the file is damaged, or no checkpoint.
    """
    path = folder / FILE
    if not path.exists():
        return None
    with _open(path) as arrays:
        state = json.loads(str(arrays["state"]))
        return {key: state[key] for key in ("epoch", "identity", "log")}


def restore_checkpoint(folder: Path, model: keras.Model) -> None:
    """Puts weights and optimizer state of the checkpoint into a compiled model.

    Raises:
        ModelFileError: the file is damaged.
    """
    with _open(folder / FILE) as arrays:
        names = sorted(arrays.files)
        weights = [arrays[name] for name in names if name.startswith("weight_")]
        states = [arrays[name] for name in names if name.startswith("optimizer_")]
    model.set_weights(weights)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, states, strict=True):
        variable.assign(value)


@contextmanager
def _open(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,  # a file of one array is not a context manager
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(
            f"{path}: the checkpoint is damaged ({reason}). Delete it to start again."
        ) from None
