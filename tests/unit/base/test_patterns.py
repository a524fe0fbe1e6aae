"""Patterns of file names: as a shell reads them, and no walk over a whole disk."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from edgevit.base.errors import ConfigError
from edgevit.base.patterns import find_paths


@pytest.fixture
def tree(tmp_path) -> Path:
    """A few files in folders, a hidden one, and a link that leads back."""
    for name in ("a.keras", "b.h5", ".c.keras", "nets/d.keras", "nets/deep/e.keras", ".x/f.keras"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "nets" / "back").symlink_to(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    ["*.keras", "[ab].*", "nets/*.keras", "*/*.keras", "nets/../*.h5", "?.h5", "none*", "*/deep/*"],
)
def test_a_pattern_finds_what_a_shell_finds(tree, pattern):
    assert find_paths(tree, pattern, "x", ConfigError) == sorted(glob.glob(str(tree / pattern)))


def test_any_depth_is_below_a_folder_and_follows_no_link(tree):
    found = find_paths(tree, "**/**/*.keras", "x", ConfigError)
    names = [os.path.relpath(path, tree) for path in found]
    assert names == ["a.keras", "nets/d.keras", "nets/deep/e.keras"]
    assert len(find_paths(tree, "**", "x", ConfigError)) == 7


def test_a_walk_that_would_not_end_is_refused(tree):
    with pytest.raises(ConfigError, match="more than 3 files would be looked at"):
        find_paths(tree, "**", "x", ConfigError, most=3)
