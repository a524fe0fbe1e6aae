"""STAGED PATH STEP: publishes a file with its manifest, but is killed at a step (0: at none)."""

import json
import sys
from pathlib import Path

from edgevit.core.manifest import Manifest
from edgevit.verbs.export import publish
from programs.killing import KillAtStep

staged, path, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
beside = Path(f"{staged}.manifest.json").read_text()
manifest = Manifest.from_document(json.loads(beside), "staged")
steps = KillAtStep(path.parent, step)
publish(staged, path, manifest)
print(steps.count)
