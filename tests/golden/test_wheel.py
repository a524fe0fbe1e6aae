"""A built wheel: the weights that the registry marks, the types, and nothing of the rest."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgevit.kits.table import PLACES
from edgevit.models.shipped import folder_name, list_shipped
from programs import ROOT

# Lines of a user's script, and what mypy says of each.
USER = {
    'reveal_type(edgevit.export("my.keras", "tflite-int8", scaling="unit").verdict)': (
        'Revealed type is "edgevit.core.parity.Verdict"'
    ),
    'reveal_type(edgevit.export_all("my.keras", "all", calibration="photos"))': (
        'Revealed type is "list[edgevit.verbs.outcome.Outcome]"'
    ),
    'reveal_type(edgevit.verify("my.tflite", status=print).verdict)': (
        'Revealed type is "edgevit.core.parity.Verdict"'
    ),
    'reveal_type(edgevit.evaluate("my.tflite", "photos").top1)': 'Revealed type is "float"',
    'edgevit.export("my.keras", "tflite-int8", scalling="unit")': (
        'Unexpected keyword argument "scalling" for "export"'
    ),
    'edgevit.export_all("my.keras", "all", scalling="unit")': (
        'Unexpected keyword argument "scalling" for "export_all"'
    ),
    'edgevit.verify("my.tflite", statuss=print)': (
        'Unexpected keyword argument "statuss" for "verify"'
    ),
    'edgevit.calibrate("my.keras", "photos", images="many")': (
        'Argument "images" to "calibrate" has incompatible type "str"; expected "int"'
    ),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built in a copy."""
    source, built = (tmp_path_factory.mktemp(name) for name in ("source", "built"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "edgevit", source / "edgevit", ignore=ignored)
    (source / "artifacts").symlink_to(ROOT / "artifacts")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", built, source]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (found,) = built.iterdir()
    return found


@pytest.mark.long
def test_a_wheel_holds_the_networks_that_the_registry_marks_and_no_others(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        inside = {name for name in names if name.startswith("edgevit/artifacts/")}
        wanted = {
            f"edgevit/artifacts/{folder_name(name)}/{part}": file.sha256
            for name, row in list_shipped().items()
            if row.in_package
            for part, file in row.files.items()
        }
        assert inside == wanted.keys()
        for name, digest in wanted.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
    assert {"edgevit/py.typed", "edgevit/models/registry.json"} <= names
    templates = {f"edgevit/kits/templates/{name}/README.md" for name in PLACES}
    assert templates <= names
    assert not any(name.startswith(("tests/", "tools/", "docs/")) for name in names)
    assert wheel.stat().st_size < 32e6


@pytest.mark.long
def test_a_users_script_sees_the_types(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "user.py").write_text("\n".join(["import edgevit", *USER]))
    command = [sys.executable, "-m", "mypy", "--config-file=", "user.py"]
    environment = {"MYPYPATH": str(tmp_path / "site"), "PATH": ""}
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    said = found.stdout.splitlines()
    for number, words in enumerate(USER.values(), start=2):
        assert any(line.startswith(f"user.py:{number}: ") and words in line for line in said), said
    assert len([line for line in said if re.match(r"user.py:\d+: error", line)]) == 4
