"""The README's table of accuracies is that of the results folder, and those are of what ships."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgevit.models import ARTIFACTS

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("accuracy_of_targets_*.json"))


def test_readme_has_the_table_that_the_script_prints():
    done = subprocess.run(
        [sys.executable, "benchmarks/accuracy_table.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_are_of_the_shipped_weights(path):
    float_keras = json.loads(path.read_text())["keras"]
    shipped = ARTIFACTS / float_keras["model"].replace(":", "-")
    ranges = json.loads((shipped / "ranges.json").read_text())
    assert float_keras["weights_sha256"] == ranges["weights_sha256"]
    assert f"{float_keras['top1']:.2f} %" in (shipped / "README.md").read_text()
