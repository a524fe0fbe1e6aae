"""Verification of a file in a process of its own, beside what this process does meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.children import Child, ChildDied, revive_error
from edgevit.base.errors import RuntimeFailure
from edgevit.core.reference import ReferenceSet
from edgevit.verification.parity import Check

COMMAND = (sys.executable, "-m", "edgevit.verification.worker")


@dataclass(frozen=True)
class Request:
    """What a worker checks; see :func:`edgevit.verification.parity.check_file`.

    Attributes:
        path: the file.
        runtimes: names of those that run it.
        reference: what it is held against.
        telling: how many samples slow kernels run; None: all.
    """

    path: Path
    runtimes: tuple[str, ...]
    reference: ReferenceSet
    telling: int | None


@dataclass(frozen=True)
class Answer:
    """What a worker found.

    Attributes:
        check: of all runtimes; None where an error stopped it.
        seconds: wall time that it took, from its first line on.
        error: class and text of the error that stopped it; empty: none did.
    """

    check: Check | None
    seconds: float
    error: tuple[str, str] | tuple[()] = ()


class Beside:
    """A context manager around one check in a process of its own, which ends with it.

    Args:
        request: what is checked.
        command: what is started; another one in tests.
    """

    def __init__(self, request: Request, command: Sequence[str] = COMMAND):
        self._path = request.path
        self._child = Child(command, request)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.__exit__(*error)

    @property
    def ended(self) -> bool:
        """Whether :meth:`result` returns at once."""
        return self._child.ended

    def result(self) -> tuple[Check, float]:
        """Waits for the worker: (what it found, seconds that it took).

        Raises:
            EdgevitError: what the check itself raises.
            RuntimeFailure: the worker died.
        """
        try:
            answer: Answer = self._child.wait()
        except ChildDied as died:
            raise RuntimeFailure(
                f"{self._path.name}: the process that ran it died ({died.how}). "
                "--jobs 1 runs it in the same process."
            ) from None
        if answer.error:
            raise revive_error(*answer.error)
        assert answer.check is not None  # there is one of the two
        return answer.check, answer.seconds
