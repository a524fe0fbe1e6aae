"""The process that does one job: ``python -m edgevit.sweeps.worker PARENT``.

It reads a pickled request from stdin, and writes one JSON object a line to what was its stdout;
whatever a library prints goes to stderr. It dies with the process that started it: by the
system's word where that is Linux, and because stdin ends elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from edgevit.base.children import end_with_parent
from edgevit.base.documents import to_json
from edgevit.base.libc import call_libc
from edgevit.base.loading import load_attribute

PR_SET_PDEATHSIG = 1  # prctl(2)
LENGTH = struct.Struct(">Q")


class Pipe:
    """Tells the process that started this one; see :class:`edgevit.sweeps.jobs.Tell`."""

    def __init__(self, descriptor: int):
        self._stream = os.fdopen(descriptor, "w")

    def started(self, name: str) -> None:
        """Begins to count the memory of a task anew."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
        self._write(started=name)

    def step(self, line: str) -> None:
        """What is being done."""
        self._write(step=line)

    def done(self, name: str, document: Mapping[str, Any]) -> None:
        """A task's result."""
        self._write(done=name, document=document)

    def _write(self, **message: Any) -> None:
        self._stream.write(json.dumps(json.loads(to_json(message))) + "\n")
        self._stream.flush()


def die_with(parent: int) -> None:
    """Lets the system end this process with its parent, where it can."""
    call_libc("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def read_request(stream: BinaryIO) -> Any:
    """(function, shared, tasks) out of stdin, which stays open as long as the parent lives."""
    (length,) = LENGTH.unpack(stream.read(LENGTH.size))
    return pickle.loads(stream.read(length))  # of our own parent


def main() -> None:
    """See the module."""
    die_with(int(sys.argv[1]))
    answers = os.dup(1)
    os.dup2(2, 1)
    function, shared, tasks = read_request(sys.stdin.buffer)
    end_with_parent(sys.stdin.buffer)
    load_attribute(function)(shared, tasks, Pipe(answers))
    sys.stdout.flush()
    os._exit(0)  # what a library left behind may crash or hang while it is taken apart


if __name__ == "__main__":
    main()
