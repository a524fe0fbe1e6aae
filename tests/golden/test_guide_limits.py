"""The limits and counts that the guide tells are those of the code.

Prints the rows of its table when it is run by hand: python tests/golden/test_guide_limits.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgevit.core.drift import DRIFT, DRIFT_LEAST, MOVED, MOVED_LEAST
from edgevit.core.parity import COARSE, LITTLE
from edgevit.core.reference import COUNT, FEW, OWN_BYTES, SMALL_BYTES
from edgevit.core.signature import Role
from edgevit.core.target import Target
from edgevit.core.tolerance import Limit, Tolerance
from edgevit.data.calibration import FEWEST
from edgevit.formats.calibration import CALIBRATION_IMAGES
from edgevit.formats.registry import TARGETS
from edgevit.frontend.shapes import MOST_CHANNELS
from edgevit.verbs.diff import CHECKED, SURELY_DB
from edgevit.verbs.export import HELD_OUT
from edgevit.verification.rounding_noise import RARE

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "explanation" / "verdict.md"  # the page with the table of limits
PAGES = sorted([*DOCS.glob("how-to/*.md"), *DOCS.glob("explanation/*.md")])
# Roles of one column have the same limits.
COLUMNS = (
    (Role.LOGITS, Role.PROBABILITIES),
    (Role.MASK,),
    (Role.EMBEDDING,),
    (Role.VALUES, Role.MAP),
    (Role.LABELS,),
)


def render_limits(targets: Mapping[str, Target]) -> list[str]:
    """Rows of the guide's table: targets with the same limits are one."""
    groups: dict[str, list[str]] = {}
    for name, target in targets.items():
        groups.setdefault(_render_row(target.tolerance), []).append(f"`{name}`")
    return [f"| {', '.join(names)} | {row} |" for row, names in groups.items()]


def _render_row(tolerance: Tolerance) -> str:
    cells = ["no limit" if tolerance.exact is None else f"{tolerance.exact:g}"]
    for roles in COLUMNS:
        limits = {tolerance.limit(role) for role in roles}
        assert len(limits) == 1, f"{roles} need columns of their own in the guide"
        cells.append(_render_limit(limits.pop(), roles[0]))
    return " | ".join([*cells, _percent(tolerance.kernels)])


def _render_limit(limit: Limit, role: Role) -> str:
    parts = [_percent(limit.relative)] if math.isfinite(limit.relative) else []
    if limit.agreement:
        share = f"{limit.agreement:g}" if role is Role.EMBEDDING else _percent(limit.agreement)
        parts.append(share)
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def read_table(text: str) -> list[str]:
    """Rows of the table between the comments, without its head."""
    part = text.split("<!-- limits:")[1].split("<!-- end of limits -->")[0]
    return [line for line in part.splitlines() if line.startswith("| `")]


def test_the_limits_of_the_guide_are_those_of_the_targets():
    assert read_table(GUIDE.read_text()) == render_limits(TARGETS)


def test_a_limit_that_is_not_the_guides_is_seen():
    text = GUIDE.read_text()
    assert text.count(", 88 % |") > 0
    assert read_table(text.replace(", 88 % |", ", 89 % |")) != render_limits(TARGETS)


def _share_in_words(share: float) -> str:
    return {0.1: "a tenth", 0.01: "a hundredth", 0.001: "a thousandth"}[share]


@pytest.mark.parametrize(
    "words",
    [
        f"There are {COUNT} of them",
        f"more than {SMALL_BYTES // 1024} KiB is recorded on at most {FEW}",
        f"({HELD_OUT} at most, none of fewer than {FEWEST})",
        f"fit into {OWN_BYTES // 1024} KiB",
        f"up to {MOST_CHANNELS} channels",
        f"at every export on {CHECKED} inputs",
        f"one that is {SURELY_DB:g} dB beyond",
        f"draws {CALIBRATION_IMAGES} samples, and {HELD_OUT} more",
        f"by more than {_share_in_words(LITTLE)} of its scale",
        f"largest error ({_share_in_words(COARSE)} of its scale)",
        f"by more than {_percent(MOVED_LEAST)} of its deviation",
        f"{MOVED:g} times what lay between its two kernel sets",
        f"loses more than {DRIFT:g} times as much and {_percent(DRIFT_LEAST)} of the deviation now",
        f"up to {_percent(RARE)} of values beyond them",
    ],
)
def test_a_count_of_the_guide_is_that_of_the_code(words: str):
    assert any(words in " ".join(page.read_text().split()) for page in PAGES)


if __name__ == "__main__":
    sys.stdout.write("\n".join(render_limits(TARGETS)) + "\n")
