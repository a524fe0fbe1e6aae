"""Small programs that tests run in processes of their own, and how they are run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def command_of(name: str, *arguments: object) -> list[str]:
    """The command that runs a program of this folder; its own folder is not on the path."""
    return [sys.executable, "-P", str(FOLDER / f"{name}.py"), *map(str, arguments)]


def run_program(
    name: str,
    *arguments: object,
    timeout: float = 250,
    cwd: Path | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Runs a program of this folder to its end, with the package and tests/ to import from."""
    path = os.pathsep.join([str(ROOT), str(FOLDER.parent)])
    return subprocess.run(
        command_of(name, *arguments),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
        timeout=timeout,
        cwd=cwd,
    )
