"""Kits for Python pass their self-test on an emulated aarch64, and FAIL with other weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevit.verbs.deploy import deploy
from helpers.kits import run_kit

BUILD = Path(__file__).parents[2] / "build"
# Of Debian 12 and 13, and so of Raspberry Pi OS.
MACHINES = {"3.11": BUILD / "arm64", "3.13": BUILD / "arm64-3.13"}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not all((folder / "ready").exists() for folder in MACHINES.values()),
        reason="there is no emulated aarch64: make test-arm64",
    ),
]
NAMES = (
    *("tflite-float32", "tflite-float16", "tflite-dynamic", "tflite-int8", "tflite-int8-micro"),
    *("tflite-mixed", "tflite-int16x8", "tflite-dynamic-int4"),
    *("onnx-float32", "onnx-float32-cpu", "onnx-float16", "onnx-dynamic", "onnx-int8"),
)


def self_test(kit: Path, version: str) -> tuple[int, list[str]]:
    found = run_kit(kit, "--self-test", python=MACHINES[version] / "python")
    return found.returncode, found.stdout.splitlines() or found.stderr.splitlines()[-3:]


@pytest.mark.parametrize("version", MACHINES)
@pytest.mark.parametrize("name", NAMES)
def test_a_kit_passes_its_own_test(exported, tmp_path, name, version):
    code, lines = self_test(deploy(exported[name], "python", tmp_path / "kit").path, version)
    assert (code, lines[-1]) == (0, "pass"), lines


def test_a_kit_fails_with_other_weights(exported, tmp_path):
    kit = deploy(exported["tflite-float32"], "python", tmp_path / "kit").path
    other = exported["tflite-dynamic-int4"].read_bytes()
    (kit / exported["tflite-float32"].name).write_bytes(other)
    code, lines = self_test(kit, "3.13")
    assert code == 1
    assert sum("differ" in line for line in lines if line.startswith("FAIL: ")) == 2, lines
