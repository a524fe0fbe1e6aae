"""Ends the process at its n-th step on the file system."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


class KillAtStep:
    """From now on counts steps below a folder, and kills the process at one of them.

    Attributes:
        count: steps so far.
    """

    def __init__(self, folder: Path, step: int):
        self.folder, self.step, self.count = str(folder), step, 0
        sys.addaudithook(self._notice)

    def _notice(self, event, arguments) -> None:
        if event in STEPS and self.folder in str(arguments[0]):
            self.count += 1
            if self.count == self.step:
                os.kill(os.getpid(), signal.SIGKILL)
