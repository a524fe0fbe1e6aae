"""The arrows of the house: the contracts in pyproject.toml hold, and each of them can fail."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
}

# What breaks, the file that gets one more line, the line.
FORBIDDEN = [
    ("arrows", "base/__init__.py", "import edgevit.core"),
    ("arrows", "core/__init__.py", "import edgevit.layers"),
    ("arrows", "layers/__init__.py", "import edgevit.models"),
    ("arrows", "data/__init__.py", "import edgevit.models"),
    ("arrows", "models/__init__.py", "import edgevit.formats"),
    ("arrows", "quantization/__init__.py", "import edgevit.frontend"),
    ("arrows", "frontend/__init__.py", "import edgevit.formats"),
    ("arrows", "formats/__init__.py", "import edgevit.verification"),
    ("arrows", "verification/__init__.py", "import edgevit.bench"),
    ("arrows", "training/__init__.py", "import edgevit.cli"),
    ("arrows", "verbs/__init__.py", "import edgevit.reports"),
    ("arrows", "core/__init__.py", "def lazily():\n    import edgevit.cli"),
    ("arrows", "attic/__init__.py", '"""A room that the contract does not list."""'),
    ("rooms", "formats/tflite/__init__.py", "import edgevit.formats.onnx.writer"),
    ("rooms", "formats/onnx/__init__.py", "import edgevit.formats.registry"),
    ("rooms", "formats/registry.py", "import edgevit.formats.exporters"),
    ("core", "base/__init__.py", "import click"),
    ("core", "core/__init__.py", "import keras"),
    ("reports", "reports/__init__.py", "import edgevit.formats"),
    ("reports", "reports/__init__.py", "import onnxruntime"),
    ("verifier", "verification/__init__.py", "import edgevit.models"),
    ("verifier", "verification/__init__.py", "def lazily():\n    import keras"),
    ("verifier", "verification/__init__.py", "import edgevit.formats.exporters"),
    ("verifier", "bench/__init__.py", "import edgevit.frontend"),
    ("verifier", "bench/__init__.py", "import tensorflow"),
    ("verifier", "formats/tflite/runtime/__init__.py", "import edgevit.formats.tflite.writer"),
    ("verifier", "formats/onnx/runtime/__init__.py", "import tensorflow"),
    ("verifier", "formats/savedmodel/runtime.py", "import keras"),
    ("quantization", "quantization/__init__.py", "def lazily():\n    import onnx"),
    ("backend-neutral", "layers/__init__.py", "import tensorflow"),
    ("backend-neutral", "models/__init__.py", "import torch"),
    ("printing", "formats/__init__.py", "import rich"),
    ("printing", "verbs/__init__.py", "import click"),
    ("circles", "quantization/levels.py", "import edgevit.quantization.ranges"),
    (
        "circles",
        "core/parity.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import edgevit.core.report",
    ),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs lint-imports on the package in a folder, with the contracts in that folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package and of its contracts."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "edgevit", tmp_path / "edgevit", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_runs_as_the_contracts_say():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in CONTRACTS.values():
        assert f"{name} KEPT" in result.stdout


def test_a_faithful_copy_of_the_package_passes(copy: Path):
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "file", "line"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(copy: Path, contract: str, file: str, line: str):
    path = copy / "edgevit" / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as stream:
        stream.write(f"\n\n{line}\n")
    result = lint(copy)
    assert result.returncode == 1
    assert f"{CONTRACTS[contract]} BROKEN" in result.stdout, result.stdout + result.stderr


def test_every_contract_is_seen_to_fail():
    assert {contract for contract, _, _ in FORBIDDEN} == set(CONTRACTS)


def test_an_exception_that_is_no_longer_needed_is_reported(copy: Path):
    (copy / "edgevit/formats/savedmodel/runtime.py").write_text(
        '"""TensorFlow is not imported here."""\n'
    )
    result = lint(copy)
    assert result.returncode == 1
    assert "edgevit.formats.savedmodel.runtime -> tensorflow" in result.stdout + result.stderr


def find_strangers(source: str, allowed: set[str]) -> set[str]:
    """Packages that a source file imports, anywhere in it, besides those allowed."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found - allowed


@pytest.mark.parametrize(
    ("room", "packages"),
    [
        ("base", {"numpy"}),
        ("core", {"numpy"}),
        ("reports", {"numpy", "jinja2", "markupsafe"}),
    ],
)
def test_core_needs_numpy_only_and_reports_a_template_engine_as_well(room: str, packages: set[str]):
    allowed = {*sys.stdlib_module_names, *packages, "edgevit"}
    files = sorted((ROOT / "edgevit" / room).rglob("*.py"))
    strangers = {file.name: find_strangers(file.read_text(), allowed) for file in files}
    assert files
    assert {name: found for name, found in strangers.items() if found} == {}


def test_a_stranger_is_found_wherever_it_is_imported():
    source = "import os, yaml.nodes\ndef lazily():\n    from requests.api import get\n"
    assert find_strangers(source, {"os"}) == {"yaml", "requests"}
