"""``python -m robustness.server``: forks commands for tests, whose own process holds threads.

It reads one JSON object a line, ``{"arguments": [...], "folder": PATH, ...}`` with what
:class:`Circumstances` has, and answers each with a :class:`robustness.jury.Ruling`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robustness.jury import Ruling, run_forked

LIGHT = (
    *("ai_edge_litert.interpreter", "onnx", "onnxruntime", "PIL.Image", "edgevit.cli.main"),
    *("edgevit.verbs.predict", "edgevit.verbs.report", "edgevit.verbs.verify"),
)


@dataclass(frozen=True)
class Circumstances:
    """What is unusual about a command's process.

    Attributes:
        closed: descriptors that are closed.
        full: descriptors on a full disk.
        hidden: packages that cannot be imported.
        environment: variables; None: unset.
    """

    closed: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    hidden: tuple[str, ...] = ()
    environment: dict[str, str | None] = field(default_factory=dict)

    def enter(self) -> None:
        """Makes this process one of them."""
        for name in self.hidden:
            sys.modules[name] = None  # type: ignore[assignment]
        for name, value in self.environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for number in self.full:
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        for number in self.closed:
            os.close(number)
        streams = {0: "stdin", 1: "stdout", 2: "stderr"}
        for number in self.closed:  # as Python finds them at its start
            setattr(sys, streams[number], None)


class Server:
    """A process that forks commands. A context manager."""

    def __enter__(self) -> Server:
        tests = Path(__file__).parents[1]
        path = os.pathsep.join([str(tests.parent), str(tests)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "robustness.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def run(self, *arguments: object, folder: Path, limit_s: float = 60.0, **odd: Any) -> Ruling:
        """Runs ``edgevit ARGUMENTS`` in a folder, in some :class:`Circumstances`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "arguments": [os.fsdecode(value) if isinstance(value, bytes) else str(value)
                          for value in arguments],
            "folder": str(folder),
            "limit_s": limit_s,
            **odd,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ruling(**json.loads(self._process.stdout.readline()))


def main() -> None:
    """See the module."""
    for module in LIGHT:
        importlib.import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        arguments, folder = request.pop("arguments"), Path(request.pop("folder"))
        limit_s = request.pop("limit_s")
        enter: Callable[[], None] = Circumstances(**request).enter
        ruling = run_forked(arguments, folder, before=enter, limit_s=limit_s)
        sys.stdout.write(json.dumps(asdict(ruling)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
