"""Names of files and modules in the documents are those of the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = re.compile(r"`((?:edgevit|tests|tools|benchmarks|docs)/[\w./-]+)`")


def find_missing(text: str, root: Path) -> list[str]:
    """Paths between backticks that lead to nothing."""
    return [path for path in PATH.findall(text) if not (root / path).exists()]


PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/[!d]*/*.md")
NAMES = sorted(str(path.relative_to(ROOT)) for page in PAGES for path in ROOT.glob(page))


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_a_document_names_is_there(name: str):
    assert find_missing((ROOT / name).read_text(), ROOT) == []


def test_a_name_that_leads_nowhere_is_found(tmp_path: Path):
    (tmp_path / "edgevit").mkdir()
    assert find_missing("see `edgevit/nowhere.py` and `edgevit/`", tmp_path) == [
        "edgevit/nowhere.py"
    ]


def test_the_picture_shows_every_room():
    text = (ROOT / "docs/architecture.md").read_text()
    picture = text.split("```")[1]
    rooms = {path.parent.name for path in (ROOT / "edgevit").glob("*/__init__.py")}
    assert rooms - set(re.findall(r"\w+", picture)) == set()
