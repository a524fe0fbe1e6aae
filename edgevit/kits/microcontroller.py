"""A kit for microcontrollers: C++ for TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevit.base.errors import ConfigError, RuntimeFailure
from edgevit.base.packages import require
from edgevit.base.workspace import open_workspace
from edgevit.formats.registry import find_runtime
from edgevit.formats.tflite.runtime.tflm import MicroSession
from edgevit.kits.firmware import (
    Border,
    Firmware,
    check,
    find_adders,
    read_borders,
    run_goldens,
    strip,
)
from edgevit.kits.place import Files
from edgevit.kits.subject import Subject

TARGET = "tflite-int8-micro"
_NOTE = """\
// Measured in TensorFlow Lite Micro on a 64-bit machine ({arena:,} bytes), rounded up. Pointers of
// microcontrollers are half as long, so less is enough there."""


def build(subject: Subject) -> Files:
    """The files of the kit.

    Args:
        subject: a TFLite file whose operators TensorFlow Lite Micro has.

    Raises:
        ConfigError: a file that cannot run there; what to export instead.
        MissingDependencyError: tflite-micro, which measures the arena, is not installed.
    """
    check(subject, TARGET)
    require("A kit for microcontrollers", [find_runtime("tflm").need])
    bare = strip(subject.path)
    adders = find_adders(bare, subject.path)
    inputs, outputs = read_borders(bare)
    try:
        goldens, arena = _measure(subject, bare, inputs, outputs)
    except RuntimeFailure:
        raise ConfigError(
            f"{subject.path}: TensorFlow Lite Micro has its operators, but not for its element "
            f"types. Export {TARGET} and deploy that."
        ) from None
    firmware = Firmware(
        subject=subject,
        content=bare,
        inputs=inputs,
        outputs=outputs,
        goldens=goldens,
        tolerances=[0.0] * len(outputs),
        golden_source="TensorFlow Lite Micro",
        adders=adders,
        arena=arena,
        arena_note=_NOTE.format(arena=arena),
    )
    return {**firmware.files({"MEASURED": f"{arena:,}"}), "model.tflite": bare}


def _measure(
    subject: Subject, bare: bytes, inputs: Sequence[Border], outputs: Sequence[Border]
) -> tuple[list[list[np.ndarray]], int]:
    """(golden vectors, bytes of the arena)."""
    with open_workspace() as folder:
        place = folder / "model.tflite"
        place.write_bytes(bare)
        session = MicroSession(place)
        found = run_goldens(subject, session.run_chunk, inputs, outputs)
        arena = session.arena_bytes
        session.close()
    return found, arena
