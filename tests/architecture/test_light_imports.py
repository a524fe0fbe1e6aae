"""What must work without a framework in memory: the package, the command line, the verifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import run_program

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


def find_loaded(*arguments: str) -> set[str]:
    """The frameworks that a fresh interpreter holds in memory after importing some modules."""
    result = run_program("load_modules", *arguments)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("loaded: ")
    return FRAMEWORKS & set(last.split())


@pytest.mark.parametrize("name", ["edgevit", "edgevit.cli.main", "help"])
def test_the_package_and_its_help_load_no_framework(name: str):
    assert find_loaded(name) == set()


@pytest.mark.parametrize(
    "room", ["base", "core", "data", "verification", "bench", "reports", "sweeps", "cli"]
)
def test_no_file_of_a_light_room_loads_a_framework(room: str):
    assert find_loaded(f"edgevit.{room}.*") == set()


@pytest.mark.parametrize(
    "table", ["edgevit.formats.registry", "edgevit.models", "edgevit.verbs.sweep"]
)
def test_a_table_loads_nothing_of_what_it_lists(table: str):
    assert find_loaded(table) == set()


def test_no_runtime_loads_a_training_framework_before_it_is_opened():
    loaded = find_loaded("edgevit.formats.*")
    assert loaded & {"keras", "tensorflow", "jax", "torch"} == set()


def test_a_framework_in_memory_is_noticed():
    assert find_loaded("onnx") == {"onnx"}


def test_a_tflite_export_needs_nothing_of_onnx():
    hidden = "onnx,onnx_ir,onnxruntime,onnxscript,tf2onnx"
    names = "edgevit.formats.tflite.writer.convert", "edgevit.verbs.export"
    assert find_loaded("--without", hidden, *names) & {"onnx", "onnxruntime", "tf2onnx"} == set()
