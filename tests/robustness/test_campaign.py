"""Damaged and crafted inputs over all verbs: nothing breaks, and nothing damaged passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgevit.core.seal import find_damage
from robustness import mutations
from robustness.base import find_light_base

TESTS = Path(__file__).parents[1]


def run_campaign(*arguments: object, minutes: float) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "robustness.campaign", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        capture_output=True,
        text=True,
        timeout=60 * minutes,
    )
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    return found.stdout


def test_forty_damaged_inputs_break_nothing_and_none_passes():
    table = run_campaign("--light", "--cases", 40, "--first", 1000, minutes=4)
    assert "all                                    40" in table


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_thousand_damaged_inputs_break_nothing_and_none_passes(tmp_path):
    run_campaign("--base", tmp_path, "--cases", 1000, "--first", 5000, minutes=110)


@pytest.mark.parametrize("target", ["onnx-float32", "tflite-int8"])
def test_every_damaged_bit_of_a_marker_is_damage(tmp_path, target):
    source = find_light_base()[0][target]
    for seed in range(40):
        path = tmp_path / source.name
        data = source.read_bytes()
        path.write_bytes(mutations.damage_marker(np.random.default_rng(seed), data))
        assert "its seal is missing" in find_damage(path)
    path.write_bytes(mutations.strip_seal(source.read_bytes()))
    assert find_damage(path) == ""  # another tool's
