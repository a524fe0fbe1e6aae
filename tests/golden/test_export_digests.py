"""No change of the code moves a byte of what the writers make of the shipped networks."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "export_digests.py"
RECORDED = Path(__file__).with_name("export_digests.json")
NANOS = ("shiftvit:nano", "patchconvnet:nano")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("export_digests", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def same_machine(tool) -> None:
    """Skips where constants are folded by other kernels, or other tools write."""
    recorded = json.loads(RECORDED.read_text())["recorded_with"]
    here = tool.describe_machine()
    for name, value in recorded.items():
        if here[name] != value:
            pytest.skip(f"recorded with other {name.replace('_', ' ')}")


def run_tool(tmp_path: Path, *arguments: str) -> None:
    command = [sys.executable, TOOL, tmp_path / "now.json"]
    command += [*arguments, "--against", RECORDED]
    found = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    assert " compared, 0 differ" in found.stdout
    assert "was not recorded" not in found.stdout


@pytest.mark.timeout(900)
def test_small_networks_are_written_as_they_were(same_machine, tmp_path):
    run_tool(tmp_path, *NANOS, "--quick")


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_network_is_written_as_it_was(same_machine, tmp_path):
    run_tool(tmp_path)


# Their tflite-int8 has other bytes where this target was added than where the others were recorded.
OWED = {f"{name} tflite-int8-npu" for name in ("patchconvnet", "resnet:wide", "shiftvit:nano")}
# Steps of channels are divided by in front of a QuantizeLinear, where onnxruntime is quicker: the
# same values. Recorded with the next processor like that of the others.
OWED |= {"resnet:wide onnx-int8"}
# Convolutions of few products between float operators stay float: less time, and less error.
OWED |= {f"{name} onnx-int8" for name in ("focalnet", "gcvit:cifar64", "patchconvnet")}
OWED |= {
    f"patchconvnet:nano onnx-int8 {variant}"
    for variant in ("batch=free", "batch=4", "io=float32", "opset=17")
}
LATER = "resnet:mlperf"  # came on a processor with other vector instructions


def test_everything_that_ships_is_recorded(tool):
    recorded = tool.read_digests(RECORDED)
    keys = {key for name in tool.list_shipped() for key, _, _ in tool.list_cases(name)}
    later = {key for key in keys if key.startswith(f"{LATER} ")}
    assert keys - OWED - later == set(recorded)


def test_a_byte_that_moved_is_told(tool, tmp_path, capsys):
    found = {"a": {"sha256": "1" * 64}, "b": {"error": "refused"}, "c": {"sha256": "2" * 64}}
    for changed in ({"a": {"sha256": "3" * 64}}, {"b": {"sha256": "3" * 64}}):
        assert tool.report({**found, **changed}, found, set(found)) == 1
        assert f"{next(iter(changed))}: 333333333333, was " in capsys.readouterr().out
    assert tool.report(found, found, set(found)) == 0
    assert "3 compared, 0 differ" in capsys.readouterr().out


def test_earlier_names_of_targets_are_read(tool, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"net tflite-int8 micro": 1, "net onnx-float32 optimize=cpu": 2}))
    assert tool.read_digests(path) == {"net tflite-int8-micro": 1, "net onnx-float32-cpu": 2}
