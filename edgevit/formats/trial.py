"""Files of other tools run in a process of their own first, with little memory and little time.

A seal tells that nothing happened to a file of ours. What anybody else made may crash a runtime,
ask it for all of the memory, or never end; then that happens to the process of the trial.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from edgevit.base.children import child_environment, describe_end, revive_error
from edgevit.base.errors import ConfigError, RuntimeFailure
from edgevit.base.files import size_path

COMMAND = (sys.executable, "-m", "edgevit.formats.trial_worker")
LIMIT_S = 120.0  # to load it and to run one sample
MEMORY = 2 << 30  # bytes beyond the code of the runtime, and FOLD times the file
FOLD = 16
VARIABLE = "EDGEVIT_FOREIGN_GB"  # allows more


def try_out(path: Path, runtime: str) -> None:
    """Loads a file and runs one sample of noise, in a process of its own; once for each file.

    Args:
        path: of another tool.
        runtime: a key of RUNTIMES.

    Raises:
        EdgevitError: the runtime, or a reader, refuses it.
        RuntimeFailure: it crashes the runtime, takes too long, or too much memory.
    """
    found = path.stat()
    _try_out(path.resolve(), runtime, found.st_mtime_ns, found.st_size, str(path))


@lru_cache(maxsize=256)
def _try_out(path: Path, runtime: str, changed_ns: int, size: int, shown: str) -> None:
    memory = memory_limit(size_path(path))
    command = [*COMMAND, str(path), runtime, str(memory), str(int(LIMIT_S))]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3"),
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeFailure(
            f"{shown}: {runtime} did not load it and run one sample within {LIMIT_S:g} s, and was "
            "stopped."
        ) from None
    _raise_told(shown, runtime, memory, ended)


def _raise_told(
    shown: str, runtime: str, memory: int, ended: subprocess.CompletedProcess[bytes]
) -> None:
    try:
        told = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        told = {}
    if told.get("memory"):
        raise RuntimeFailure(
            f"{shown}: {runtime} needs more than {memory / 1e9:.1f} GB for one sample, which a "
            f"file of another tool is not given. {VARIABLE}=8 allows 8 GB."
        )
    if "error" in told:
        raise revive_error(str(told.get("kind")), str(told["error"]))
    if not told:
        raise RuntimeFailure(
            f"{shown}: {runtime} died of it ({describe_end(ended.returncode)}). The file is "
            "damaged, or made to do so."
        )


def memory_limit(size_bytes: int) -> int:
    """Bytes that the trial of a file of this size may allocate.

    Raises:
        ConfigError: the variable is no number.
    """
    asked = os.environ.get(VARIABLE)
    if asked is None:
        return MEMORY + FOLD * size_bytes
    try:
        return int(float(asked) * 1e9)
    except (ValueError, OverflowError):
        raise ConfigError(f"{VARIABLE} is a number of gigabytes. Received: {asked!r}") from None
