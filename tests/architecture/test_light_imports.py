"""What must work without a framework in memory: the package, the command line, the verifier."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = {
    "ai_edge_litert",
    "h5py",
    "jax",
    "keras",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "scipy",
    "tensorflow",
    "tf2onnx",
    "torch",
}
IMPORT_WHOLE_ROOM = """
import importlib, pkgutil
room = importlib.import_module("edgevit.{room}")
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    importlib.import_module(module.name)
"""
ASK_FOR_HELP = """
import sys
from edgevit.cli.main import main
sys.argv = ["edgevit", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def find_loaded(code: str) -> set[str]:
    """The frameworks that a fresh interpreter holds in memory after running some code."""
    report = "\nimport sys\nprint('loaded:', *sorted({m.partition('.')[0] for m in sys.modules}))\n"
    command = [sys.executable, "-c", code + report]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("loaded: ")
    return FRAMEWORKS & set(last.split())


@pytest.mark.parametrize(
    "code",
    ["import edgevit", "import edgevit.cli.main", ASK_FOR_HELP],
    ids=["package", "command line", "help"],
)
def test_the_package_and_its_help_load_no_framework(code: str):
    assert find_loaded(code) == set()


@pytest.mark.parametrize(
    "room", ["base", "core", "data", "verification", "bench", "reports", "cli"]
)
def test_no_file_of_a_light_room_loads_a_framework(room: str):
    assert find_loaded(IMPORT_WHOLE_ROOM.format(room=room)) == set()


def test_the_table_of_runtimes_loads_no_runtime():
    assert find_loaded("import edgevit.formats.registry") == set()


def test_no_runtime_loads_a_training_framework_before_it_is_opened():
    loaded = find_loaded(IMPORT_WHOLE_ROOM.format(room="formats"))
    assert loaded & {"keras", "tensorflow", "jax", "torch"} == set()


def test_a_framework_in_memory_is_noticed():
    assert find_loaded("import onnx") == {"onnx"}


def test_a_tflite_export_needs_nothing_of_onnx():
    script = """
import sys
for name in ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "tf2onnx"):
    sys.modules[name] = None
import edgevit.formats.calibration
import edgevit.formats.exporters
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True)
