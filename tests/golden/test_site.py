"""The site: its reference says all that the code offers, and every link leads somewhere."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgevit
from edgevit.cli.main import VERBS
from edgevit.formats.registry import RUNTIMES, TARGETS
from edgevit.models.shipped import list_shipped
from edgevit.tasks import TASKS
from programs import ROOT


@pytest.fixture(scope="module")
def pages():
    """The generated pages, rendered, by name."""
    sys.path.insert(0, str(ROOT / "tools"))
    found = importlib.import_module("reference_pages").PAGES
    sys.path.remove(str(ROOT / "tools"))
    return {name: render() for name, render in found.items()}


def test_the_reference_names_everything(pages):
    lines = set(pages["command-line.md"].splitlines())
    for verb in VERBS:
        assert f"## edgevit {verb.name}" in lines
        for option in verb.params:
            if option.opts[0].startswith("-"):
                assert option.opts[0] in pages["command-line.md"]
    assert "`-h, --help`" in pages["command-line.md"]
    assert "Folder for the files. [default: exports]" in pages["command-line.md"]
    assert '[default: ""]' not in pages["command-line.md"]
    public = {line.removeprefix("### ") for line in pages["python.md"].splitlines()}
    assert set(edgevit.__all__) - {"__version__"} <= public
    assert all(f"`{name}`" in pages["targets.md"] for name in (*TARGETS, *RUNTIMES))
    assert all(f"`{name}`" in pages["tasks.md"] for name in TASKS)
    assert all(f"[{name}]" in pages["networks.md"] for name in list_shipped())
    assert "| `ModelFileError` | 2 |" in pages["exit-codes.md"]


def test_keyword_arguments_stand_with_their_verb(pages):
    export = pages["python.md"].split("### export\n")[1].split("### export_all")[0]
    assert "`calibration`" in export
    assert "`accept_loss`" in export
    assert not re.search(r": '[\w. |]+'", export)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", folder / "mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.long
def test_the_site_is_built_strictly_and_a_broken_link_stops_it(tmp_path):
    pytest.importorskip("mkdocs", reason="make docs installs it")
    pytest.importorskip("material", reason="make docs installs it")
    names = ("docs", "tools", "edgevit", "artifacts", "mkdocs.yml", "CHANGELOG.md")
    for name in (*names, "CONTRIBUTING.md"):
        place = tmp_path / name
        if name in ("edgevit", "artifacts"):
            place.symlink_to(ROOT / name)
        elif (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("node_modules"))
        else:
            shutil.copy(ROOT / name, place)
    found = build(tmp_path)
    assert found.returncode == 0, found.stderr
    page = (tmp_path / "build" / "site" / "index.html").read_text()
    outside = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://[^\"]+)", page)
    assert [address for address in outside if 'rel="canonical"' not in address] == []
    index = tmp_path / "docs" / "index.md"
    index.write_text(index.read_text() + "\n[nowhere](tutorials/nowhere.md)\n")
    broken = build(tmp_path)
    assert broken.returncode != 0
    assert "nowhere.md" in broken.stderr
