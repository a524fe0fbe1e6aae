"""Cells that misbehave as the name of their model says, for tests of sweeps."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np


def note(line: str) -> None:
    """Appends a line to the file that the test reads; whole, whoever else writes."""
    with open(os.environ["FAKE_LOG"], "ab", buffering=0) as log:
        log.write(f"{line}\n".encode())


def misbehave(kind: str) -> None:
    if kind == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "leave":
        os._exit(7)
    if kind == "hang":
        time.sleep(600)
    if kind == "eat":
        held = []
        while True:
            held.append(np.ones(4_000_000))
            time.sleep(0.02)


def run(shared, tasks, tell) -> None:
    """See :data:`edgevit.sweeps.jobs.Job.function`."""
    kind = shared.source.rpartition(":")[2]
    for name, (target, _), folder in tasks:
        tell.started(name)
        note(f"started {name} {os.getpid()}")
        tell.step("pretending")
        time.sleep(float(os.environ.get("FAKE_S", "0")))
        if not name.endswith("savedmodel"):
            misbehave(kind)
        document = {"model": shared.model, "target": target, "key": "", "outcome": "pass"}
        if kind == "missing":
            document |= {"outcome": "missing", "reason": "needs the package 'x'"}
        else:
            (Path(folder) / "file.bin").write_bytes(f"{shared.model} {target}".encode())
            document |= {"file": "file.bin", "size_bytes": 10}
        note(f"done {name} {os.getpid()}")
        tell.done(name, document)
