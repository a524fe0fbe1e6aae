"""Verification of a file in a process of its own, beside what this process does meanwhile."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgevit.base import errors
from edgevit.base.errors import EdgevitError, RuntimeFailure
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
            env=_environment(),
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
            raise RuntimeFailure(
                f"{self._path.name}: the process that ran it died ({self._describe_end()}). "
                "--jobs 1 runs it in the same process."
            ) from None
        if answer.error:
            raise _revive(*answer.error)
        return answer

    def _describe_end(self) -> str:
        code = self._process.returncode
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"exit code {code}"


def _revive(name: str, text: str) -> EdgevitError:
    """An error of the worker's; one of no plain class becomes the runtime's."""
    kind: Any = getattr(errors, name, RuntimeFailure)
    plain = issubclass(kind, EdgevitError) and kind.__init__ is Exception.__init__
    error: EdgevitError = (kind if plain else RuntimeFailure)(text)
    return error


def _environment() -> dict[str, str]:
    """Where this process finds packages, plug-ins among them, the worker finds them too."""
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
