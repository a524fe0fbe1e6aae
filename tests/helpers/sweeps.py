"""Plans of fake models, sweeps of them in processes of their own, and what these left behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgevit.core.cells import SweepReport
from edgevit.verbs.sweep import sweep
from programs import FOLDER, ROOT, command_of

TARGETS = ("savedmodel", "tflite-float32", "onnx-float32")


class FakeSweep:
    """A plan in a folder.

    Args:
        folder: for everything.
        kinds: of models: what programs.fake_cells knows; others are right.
        limits: lines of the plan's ``[limits]``.
    """

    def __init__(self, folder: Path, kinds: tuple[str, ...], limits: str = ""):
        self.folder, self.out, self.log = folder, folder / "out", folder / "log"
        self.plan = folder / "plan.toml"
        (folder / "fake.py").write_text("")
        rows = "".join(f'[[model]]\nsource = "fake:{kind}"\nname = "{kind}"\n' for kind in kinds)
        self.plan.write_text(f"targets = {list(TARGETS)}\n[limits]\n{limits}\n{rows}")
        self.log.touch()

    def start(self, jobs: int = 2, seconds: float = 0.0, *cluster: str) -> subprocess.Popen[str]:
        """Starts a sweep; each cell takes so many seconds."""
        path = os.pathsep.join([str(ROOT), str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
        told = {"FAKE_LOG": str(self.log), "FAKE_S": str(seconds), "PYTHONPATH": path}
        return subprocess.Popen(
            command_of("run_sweep", self.plan, self.out, jobs, *cluster),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": tempfile.gettempdir(), **told},
        )

    def run(self, jobs: int = 2, seconds: float = 0.0, *cluster: str) -> dict[str, str]:
        """Runs a sweep to its end: "MODEL/TARGET" -> "STATE: REASONS"; "ran" -> how many."""
        said, errors = self.start(jobs, seconds, *cluster).communicate(timeout=250)
        assert "ran " in said, errors
        rows = [line.partition(": ") for line in said.splitlines() if ": " in line]
        return {name: text for name, _, text in rows} | {"ran": said.split()[-1]}

    def run_here(self, patch: pytest.MonkeyPatch, **more: Any) -> SweepReport:
        """Runs a sweep in this process, with workers of its own."""
        path = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("FAKE_LOG", str(self.log))
        return sweep(self.plan, self.out, jobs=2, function="programs.fake_cells:run", **more)

    def count(self, word: str) -> Counter[str]:
        """How often each cell was "started", or "done"."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return Counter(name for kind, name, _ in lines if kind == word)

    def published(self) -> dict[str, int]:
        """Cells with a document, and when that was written."""
        found = self.out.glob("cells/*/*/cell.json")
        return {f"{p.parts[-3]}/{p.parts[-2]}": p.stat().st_mtime_ns for p in found}

    def litter(self) -> list[str]:
        """What is neither a result nor one of the tables."""
        return [path.name for path in self.out.rglob(".*")]
