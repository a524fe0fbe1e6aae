"""Verification of a file in a process of its own, beside what this process does meanwhile."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgevit.base.children import child_environment, describe_end, revive_error
from edgevit.base.errors import RuntimeFailure
from edgevit.core.parity import ParityReport
from edgevit.core.reference import ReferenceSet

COMMAND = (sys.executable, "-m", "edgevit.verification.worker")


@dataclass(frozen=True)
class Request:
    """What a worker checks; see :func:`edgevit.verification.parity.check_file`.

    Attributes:
        path: the file.
        runtimes: names of those that run it.
        reference: what it is held against.
        thorough: whether slow kernels run all samples too.
    """

    path: Path
    runtimes: tuple[str, ...]
    reference: ReferenceSet
    thorough: bool


@dataclass(frozen=True)
class Answer:
    """What a worker found.

    Attributes:
        reports: of all comparisons.
        seconds: wall time that it took, from its first line on.
        error: class and text of the error that stopped it; empty: none did.
    """

    reports: tuple[ParityReport, ...]
    seconds: float
    error: tuple[str, str] | tuple[()] = ()


class Beside:
    """A context manager around one check in a process of its own, which ends with it.

    The worker holds the other end of its standard input: when this process dies, however it does,
    the worker sees the end of that and dies too.

    Args:
        request: what is checked.
        command: what is started; another one in tests.
    """

    def __init__(self, request: Request, command: Sequence[str] = COMMAND):
        self._path = request.path
        self._answer: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=self._answer,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it is gone already, and the answer tells
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._process.pid

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        self._answer.close()

    def result(self) -> Answer:
        """Waits for what the worker found.

        Raises:
            EdgevitError: what the check itself raises.
            RuntimeFailure: the worker died.
        """
        self._process.wait()
        self._answer.seek(0)
        try:
            answer: Answer = pickle.load(self._answer)  # of our own worker
        except (EOFError, pickle.UnpicklingError):
            how = describe_end(self._process.returncode)
            raise RuntimeFailure(
                f"{self._path.name}: the process that ran it died ({how}). "
                "--jobs 1 runs it in the same process."
            ) from None
        if answer.error:
            raise revive_error(*answer.error)
        return answer
