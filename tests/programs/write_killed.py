"""FOLDER file|folder STEP: writes FOLDER/out/model whole, but is killed at a step (0: at none)."""

import sys
from pathlib import Path

from edgevit.base.files import move_whole, write_whole
from programs.killing import KillAtStep

folder, kind, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
steps = KillAtStep(folder, step)
if kind == "file":
    write_whole(folder / "out" / "model", b"new" * 100_000)
else:
    move_whole(folder / "staged", folder / "out" / "model")
print(steps.count)
