"""What pyproject.toml cannot say: which of artifacts/ comes inside a wheel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
REGISTRY = ROOT / "edgevit" / "models" / "registry.json"


class BuildWithWeights(build_py):
    """Copies the weights that the registry marks into the package that is built.

    An editable install finds them in the checkout.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name, row in json.loads(REGISTRY.read_text()).items():
            if row["in_package"]:
                self._copy(name.replace(":", "-"), row["files"])

    def _copy(self, folder: str, files: dict[str, dict]) -> None:
        place = Path(self.build_lib) / "edgevit" / "artifacts" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(ROOT / "artifacts" / folder / name, place / name)


setup(cmdclass={"build_py": BuildWithWeights})
