"""Kernels that may end the process, in a process of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.children import Child, ChildDied, revive_error
from edgevit.base.errors import KernelsEnded
from edgevit.core.samples import Inputs
from edgevit.core.tensors import TensorSpec
from edgevit.formats.session import Session

Answer = dict[str, np.ndarray] | tuple[str, str]  # outputs, or class and text of an error
COMMAND = (sys.executable, "-m", "edgevit.formats.apart_worker")


class ApartSession:
    """A session whose every run is a process: what ends that is an error here.

    Args:
        session: of the same file in the same runtime, opened here; loading ends no process.
        runtime: a key of RUNTIMES.
        reason: why its kernels may end the process.
        command: what is started; another one in tests.
    """

    path: Path
    runtime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]
    bind: Callable[..., Callable[[], object]]

    def __init__(
        self, session: Session, runtime: str, reason: str, command: Sequence[str] = COMMAND
    ):
        self._session, self._name, self._reason = session, runtime, reason
        self._command = list(command)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def __enter__(self) -> ApartSession:
        self._session.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._session.__exit__(*error)

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """See :meth:`Session.run`.

        Raises:
            KernelsEnded: they ended their process.
        """
        try:
            with Child(self._command, (self.path, self._name, inputs)) as child:
                found: Answer = child.wait()
        except ChildDied as died:
            raise KernelsEnded(
                f"{self.path.name}: {self.runtime} ends its process ({died.how}) on these inputs. "
                f"It holds {self._reason}."
            ) from None
        if isinstance(found, tuple):
            raise revive_error(*found)
        return found
