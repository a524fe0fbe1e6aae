"""Every page passes axe, on a desktop and a phone, light and dark: site, report, sweep and kit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgevit.verbs.deploy import deploy
from edgevit.verbs.report import write_report
from helpers.kits import CHROMIUM, MODULES
from helpers.sweeps import FakeSweep
from programs import ROOT

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        CHROMIUM is None or not (MODULES / "axe-core").exists(),
        reason="Chromium or axe-core is not installed: make test-pages",
    ),
]
PICTURES = ROOT / "build" / "pages"


def check(pictures: Path, *pages: Path) -> subprocess.CompletedProcess[str]:
    """What tools/check_pages.mjs says of pages."""
    command = ["node", ROOT / "tools" / "check_pages.mjs", pictures, *pages]
    environment = {**os.environ, "CHROMIUM": str(CHROMIUM)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_site_has_no_violations_and_its_search_finds(tmp_path):
    for package in ("mkdocs", "material"):
        pytest.importorskip(package, reason="make docs installs it")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, check=True)
    found = check(PICTURES / "site", site)
    assert found.returncode == 0, found.stdout + found.stderr
    pages = len([*site.rglob("*.html")]) + 1  # once more with the search open
    assert f"{4 * pages} looks at {pages} pages: 0 violations" in found.stdout


def test_what_the_verbs_write_has_no_violations(exported, tmp_path, monkeypatch):
    report = tmp_path / "report.html"
    write_report(exported["onnx-float32"].parent, report)
    folder = tmp_path / "sweep"
    folder.mkdir()
    sweep = FakeSweep(folder, ("right", "leave", "missing"))
    sweep.run_here(monkeypatch)
    kit = deploy(exported["onnx-float32"], "browser", tmp_path / "kit").path
    (kit / "node_modules").symlink_to(MODULES)
    found = check(PICTURES / "written", report, sweep.out / "report.html", kit)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "16 looks at 4 pages: 0 violations" in found.stdout


def test_a_violation_is_found_and_a_search_that_finds_nothing(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search_index.json").write_text("{}")
    page = tmp_path / "index.html"
    page.write_text("<title>x</title><main><h1 style='color: #eee'>Pale</h1></main>")
    found = check(tmp_path / "pictures", tmp_path)
    assert found.returncode == 1
    for rule in ("color-contrast", "html-has-lang", "does-not-work"):
        assert rule in found.stdout
