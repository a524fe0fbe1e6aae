"""What never enters the repository: paths of somebody's machine, registry hosts, image files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Put together here, so that this file does not hold what it looks for.
HOMES = ("home", "root", "work", "Users")
HOSTS = (
    *("pypi" + ".org", "pythonhosted" + ".org", "anaconda" + ".org"),
    *("download.pytorch" + ".org", "registry.npmjs" + ".org"),
)
OPTIONS = ("index" + "-url", "find" + "-links")
# Not after a word or a placeholder: those paths are relative to something.
MACHINE_PATH = re.compile(rf"(?<![\w.~)\]}}>-])/(?:{'|'.join(HOMES)})/|\b[A-Z]:\\+Users\b".encode())
REGISTRY = re.compile("|".join(re.escape(word) for word in HOSTS + OPTIONS).encode(), re.IGNORECASE)

# What a match holds, in small letters: looked for first, which is far quicker.
HINTS = {
    MACHINE_PATH: (b"users", *(f"/{home}/".encode() for home in HOMES[:3])),
    REGISTRY: tuple(word.lower().encode() for word in HOSTS + OPTIONS),
}

IMAGE_SUFFIXES = {
    *(".bmp", ".gif", ".heic", ".ico", ".jpeg", ".jpg", ".png"),
    *(".ppm", ".tif", ".tiff", ".webp"),
}
IMAGE_STARTS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")


def list_files(root: Path) -> list[str]:
    """Paths of all files that git tracks or would add."""
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [name for name in output.split("\0") if (root / name).is_file()]


def find_matches(root: Path, pattern: re.Pattern[bytes]) -> list[str]:
    """'file:line: text' for the first match in each file."""
    found = []
    for name in list_files(root):
        content = (root / name).read_bytes()
        small = content.lower()
        hinted = any(hint in small for hint in HINTS[pattern])
        if hinted and (match := pattern.search(content)):
            line = content.count(b"\n", 0, match.start()) + 1
            found.append(f"{name}:{line}: {match.group().decode()}")
    return found


def find_images(root: Path) -> list[str]:
    """Picture files but docs/ and learning curves, by their names or by their first bytes."""
    found = []
    for name in list_files(root):
        path = PurePosixPath(name)
        with (root / name).open("rb") as stream:
            is_image = path.suffix.lower() in IMAGE_SUFFIXES or stream.read(8).startswith(
                IMAGE_STARTS
            )
        if is_image and path.parts[0] != "docs" and not path.match("artifacts/*/curves.png"):
            found.append(name)
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty git repository."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def test_the_repository_has_files():
    assert "edgevit/base/errors.py" in list_files(ROOT)


def test_no_file_holds_a_path_of_a_developer_machine():
    assert find_matches(ROOT, MACHINE_PATH) == []


def test_no_file_holds_a_package_registry():
    assert find_matches(ROOT, REGISTRY) == []


def test_no_image_file_lies_outside_docs():
    assert find_images(ROOT) == []


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("before", ["", "model saved in ", '"', "file://", "\0"])
def test_a_machine_path_is_found(repository: Path, home: str, before: str):
    (repository / "model.bin").write_bytes(f"first line\n{before}/{home}/someone/x".encode())
    assert find_matches(repository, MACHINE_PATH) == [f"model.bin:2: /{home}/"]


def test_a_relative_path_is_no_machine_path(repository: Path):
    (repository / "notes.md").write_text(
        "docs/work/plan.md {folder}/home/x https://a.example/root/"
    )
    assert find_matches(repository, MACHINE_PATH) == []


@pytest.mark.parametrize("word", HOSTS + OPTIONS)
def test_a_package_registry_is_found(repository: Path, word: str):
    (repository / "requirements.txt").write_text(f"# from {word.upper()}/simple\n")
    assert len(find_matches(repository, REGISTRY)) == 1


def test_ignored_files_are_nobodys_business(repository: Path):
    (repository / ".gitignore").write_text("runs/\n")
    (repository / "runs").mkdir()
    (repository / "runs/log.txt").write_text(f"/{HOMES[0]}/someone")
    assert find_matches(repository, MACHINE_PATH) == []


def test_an_image_is_found_by_name_and_by_content(repository: Path):
    (repository / "docs").mkdir()
    (repository / "docs/figure.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (repository / "cat.JPG").write_bytes(b"")
    (repository / "calibration.dat").write_bytes(b"\xff\xd8\xff\xe0")
    (repository / "notes.txt").write_text("no image")
    assert find_images(repository) == ["calibration.dat", "cat.JPG"]
