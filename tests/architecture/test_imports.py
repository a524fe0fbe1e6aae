"""The arrows of the house: the contracts in pyproject.toml hold, and each of them can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import api
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.helpers import MissingImport

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = api.read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS = {contract["id"]: contract for contract in CONFIGURATION["contracts_options"]}
CLASSES = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
}

# What breaks, the module that imports, what it imports.
FORBIDDEN = [
    ("arrows", "edgevit.base", "edgevit.core"),
    ("arrows", "edgevit.core", "edgevit.layers"),
    ("arrows", "edgevit.layers", "edgevit.models"),
    ("arrows", "edgevit.layers", "edgevit.tasks"),
    ("arrows", "edgevit.tasks", "edgevit.layers"),
    ("arrows", "edgevit.tasks", "edgevit.data"),
    ("arrows", "edgevit.core", "edgevit.tasks"),
    ("arrows", "edgevit.data", "edgevit.models"),
    ("arrows", "edgevit.models", "edgevit.formats"),
    ("arrows", "edgevit.quantization", "edgevit.frontend"),
    ("arrows", "edgevit.frontend", "edgevit.formats"),
    ("arrows", "edgevit.formats", "edgevit.verification"),
    ("arrows", "edgevit.verification", "edgevit.bench"),
    ("arrows", "edgevit.training", "edgevit.cli"),
    ("arrows", "edgevit.training", "edgevit.reports"),
    ("arrows", "edgevit.core", "edgevit.cli"),
    ("rooms", "edgevit.formats.tflite", "edgevit.formats.onnx.writer"),
    ("rooms", "edgevit.formats.onnx", "edgevit.formats.registry"),
    ("rooms", "edgevit.formats.registry", "edgevit.formats.calibration"),
    ("core", "edgevit.base", "click"),
    ("core", "edgevit.core", "keras"),
    ("reports", "edgevit.reports", "edgevit.formats"),
    ("reports", "edgevit.reports", "edgevit.tasks"),
    ("reports", "edgevit.reports", "onnxruntime"),
    ("verifier", "edgevit.verification", "edgevit.models"),
    ("verifier", "edgevit.verification", "keras"),
    ("verifier", "edgevit.verification", "edgevit.formats.calibration"),
    ("verifier", "edgevit.tasks", "keras"),
    ("verifier", "edgevit.bench", "edgevit.frontend"),
    ("verifier", "edgevit.bench", "tensorflow"),
    ("verifier", "edgevit.formats.tflite.runtime", "edgevit.formats.tflite.writer"),
    ("verifier", "edgevit.formats.onnx.runtime", "tensorflow"),
    ("verifier", "edgevit.formats.savedmodel.runtime", "keras"),
    ("quantization", "edgevit.quantization", "onnx"),
    ("backend-neutral", "edgevit.layers", "tensorflow"),
    ("backend-neutral", "edgevit.models", "torch"),
    ("printing", "edgevit.formats", "rich"),
    ("printing", "edgevit.verbs", "click"),
    ("printing", "edgevit.tasks", "rich"),
    ("circles", "edgevit.quantization.histogram", "edgevit.quantization.ranges"),
    ("circles", "edgevit.core.parity", "edgevit.core.report"),
]


def build_graph(package: str) -> grimp.ImportGraph:
    """Who imports whom, read from the sources as lint-imports does."""
    session = CONFIGURATION["session_options"]
    assert session["include_external_packages"] == "True"
    assert "exclude_type_checking_imports" not in session
    return grimp.build_graph(package, include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def as_it_is() -> grimp.ImportGraph:
    """The imports of the package, to be read only."""
    return build_graph("edgevit")


@pytest.fixture
def graph(as_it_is) -> grimp.ImportGraph:
    """The imports of the package, to which a test may add some."""
    return deepcopy(as_it_is)


def holds(contract: dict[str, Any], graph: grimp.ImportGraph) -> bool:
    """Whether the contract holds for these imports."""
    checked = CLASSES[contract["type"]](
        name=contract["name"],
        session_options=CONFIGURATION["session_options"],
        contract_options=contract,
    )
    return checked.check(graph, verbose=False).kept


def test_every_import_runs_as_the_contracts_say():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for contract in CONTRACTS.values():
        assert f"{contract['name']} KEPT" in result.stdout


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_holds_before_an_import_is_added(graph, contract):
    assert holds(CONTRACTS[contract], graph)


@pytest.mark.parametrize(("contract", "importer", "imported"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(graph, contract, importer, imported):
    assert importer in graph.modules
    assert imported in graph.modules or not imported.startswith("edgevit")
    graph.add_import(importer=importer, imported=imported)
    assert not holds(CONTRACTS[contract], graph)


def test_a_room_that_the_arrows_do_not_list_breaks_them(graph):
    graph.add_module("edgevit.attic")
    assert not holds(CONTRACTS["arrows"], graph)


def test_every_contract_is_seen_to_fail():
    assert {contract for contract, _, _ in FORBIDDEN} == set(CONTRACTS)


def test_an_exception_that_is_no_longer_needed_is_reported(graph):
    importer, imported = "edgevit.formats.savedmodel.runtime", "tensorflow"
    graph.remove_import(importer=importer, imported=imported)
    with pytest.raises(MissingImport, match=f"{importer} -> {imported}"):
        holds(CONTRACTS["verifier"], graph)


def test_imports_inside_functions_and_for_types_alone_count(tmp_path, monkeypatch):
    package = tmp_path / "house_of_two"
    package.mkdir()
    for name, source in {
        "__init__": "",
        "lazy": "def lazily():\n    import house_of_two.types\n",
        "types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    import house_of_two.lazy\n",
    }.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    graph = build_graph("house_of_two")
    assert graph.direct_import_exists(importer="house_of_two.lazy", imported="house_of_two.types")
    assert not holds({**CONTRACTS["circles"], "ancestors": ["house_of_two"]}, graph)


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
        ("base", {"numpy", "msgspec", "IPython"}),
        ("core", {"numpy"}),
        ("reports", {"numpy", "jinja2", "markupsafe"}),
    ],
)
def test_base_reads_documents_by_a_library_core_needs_numpy_only_and_reports_a_template_engine(
    room: str, packages: set[str]
):
    allowed = {*sys.stdlib_module_names, *packages, "edgevit"}
    files = sorted((ROOT / "edgevit" / room).rglob("*.py"))
    strangers = {file.name: find_strangers(file.read_text(), allowed) for file in files}
    assert files
    assert {name: found for name, found in strangers.items() if found} == {}


def test_a_stranger_is_found_wherever_it_is_imported():
    source = "import os, yaml.nodes\ndef lazily():\n    from requests.api import get\n"
    assert find_strangers(source, {"os"}) == {"yaml", "requests"}
