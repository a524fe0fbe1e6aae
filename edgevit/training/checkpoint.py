"""Resumable training state: everything that the next step depends on."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgevit.core.errors import ModelFileError

FILE = "checkpoint.npz"


def write_checkpoint(
    folder: Path, model: keras.Model, epoch: int, identity: dict, log: list
) -> None:
    """Writes weights, optimizer state and log after an epoch; the old file is replaced at once.

    Args:
        folder: where the checkpoint lives.
        model: compiled and trained; its optimizer's moving average is part of the state.
        epoch: epochs that are complete.
        identity: what must be equal for a resume to be the same run (recipe, seed, data).
        log: one dict an epoch.
    """
    arrays: dict[str, Any] = {
        f"weight_{i:04d}": np.asarray(w) for i, w in enumerate(model.get_weights())
    }
    for i, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer_{i:04d}"] = keras.ops.convert_to_numpy(variable)
    arrays["state"] = np.array(json.dumps({"epoch": epoch, "identity": identity, "log": log}))
    temporary = folder / f".{FILE}.{os.getpid()}.partial"
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    temporary.replace(folder / FILE)


def read_state(folder: Path) -> dict | None:
    """{"epoch", "identity", "log"} of the checkpoint in a folder; None where there is none."""
    path = folder / FILE
    if not path.exists():
        return None
    with _open(path) as arrays:
        return json.loads(str(arrays["state"]))


def restore_checkpoint(folder: Path, model: keras.Model) -> None:
    """Puts weights and optimizer state of the checkpoint into a compiled model."""
    with _open(folder / FILE) as arrays:
        weights = [arrays[name] for name in sorted(arrays.files) if name.startswith("weight_")]
        model.set_weights(weights)
        model.optimizer.build(model.trainable_variables)
        for i, variable in enumerate(model.optimizer.variables):
            variable.assign(arrays[f"optimizer_{i:04d}"])


def _open(path: Path):
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{path}: the checkpoint is damaged ({error}). Delete it to start again."
        ) from None
