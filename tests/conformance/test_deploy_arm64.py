"""Kits for Python pass their self-test on an emulated aarch64, and FAIL with other weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevit.verbs.deploy import deploy
from helpers.kits import run_kit

PYTHON = Path(__file__).parents[2] / "build" / "arm64" / "python"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PYTHON.exists(), reason="there is no emulated aarch64: make test-arm64"),
]
NAMES = (
    *("tflite-float32", "tflite-float16", "tflite-dynamic", "tflite-int8", "tflite-int8-micro"),
    *("tflite-mixed", "tflite-int16x8", "tflite-dynamic-int4"),
    *("onnx-float32", "onnx-float32-cpu", "onnx-float16", "onnx-dynamic", "onnx-int8"),
)


def self_test(kit: Path) -> tuple[int, list[str]]:
    found = run_kit(kit, "--self-test", python=PYTHON)
    return found.returncode, found.stdout.splitlines() or found.stderr.splitlines()[-3:]


@pytest.mark.parametrize("name", NAMES)
def test_a_kit_passes_its_own_test(exported, tmp_path, name):
    code, lines = self_test(deploy(exported[name], "python", tmp_path / "kit").path)
    assert (code, lines[-1]) == (0, "pass"), lines


def test_a_kit_fails_with_other_weights(exported, tmp_path):
    kit = deploy(exported["tflite-float32"], "python", tmp_path / "kit").path
    other = exported["tflite-dynamic-int4"].read_bytes()
    (kit / exported["tflite-float32"].name).write_bytes(other)
    code, lines = self_test(kit)
    assert code == 1
    assert sum("differ" in line for line in lines if line.startswith("FAIL: ")) == 2, lines
