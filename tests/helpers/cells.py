"""Cells of a table of kinds and targets, as parameters of a test."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

from edgevit.formats.registry import TARGETS


def each_pair(kinds: Iterable[str], quick: Collection[tuple[str, str]]) -> list[Any]:
    """Every kind with every target; those that are not quick in the long suite."""
    return [
        pytest.param(
            kind,
            target,
            marks=() if (kind, target) in quick else pytest.mark.long,
            id=f"{kind}-{target}",
        )
        for kind in kinds
        for target in TARGETS
    ]
