"""Writes a plan of the conformance matrices: kinds of models, layers of Keras, published networks.

    python benchmarks/layers_plan.py build/layers --table layers
    edgevit sweep build/layers/plan.toml

The folder holds the plan, a module that builds each model, and drawn samples for calibration. The
sweep judges as an export does; `kinds_table.py` holds the same files against a check that shares
nothing with the exporter.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
MODULE = '''\
"""The models of the plan, by name."""

import sys

sys.path.insert(0, {tests!r})

from kinds.zoo import ZOO, build_kind


def __getattr__(name):
    if name not in ZOO:
        raise AttributeError(name)
    return lambda: build_kind(ZOO[name])
'''


def write_plan(folder: Path, table: str, names: list[str]) -> Path:
    """The plan of a table, or of some of its rows."""
    sys.path.insert(0, str(TESTS))
    from kinds import zoo
    from kinds.trial import CALIBRATED_WITH

    rows = getattr(zoo, table.upper())
    (folder / "calibration").mkdir(parents=True, exist_ok=True)
    (folder / "models.py").write_text(MODULE.format(tests=str(TESTS)))
    lines = [
        f'title = "{table} and targets"',
        'targets = ["all"]',
        '[defaults]\naccept = ["lossy"]',
        "[limits]\nseconds = 1200",
    ]
    for name in names or rows:
        kind = rows[name]
        drawn = kind.draw(kind.calibrated_on, CALIBRATED_WITH)
        np.savez(folder / f"calibration/{name}.npz", **drawn)
        lines += [
            f'[[model]]\nsource = "models:{name}"\nname = "{name}"',
            f'calibration = "calibration/{name}.npz"',
            f"depends = [{json.dumps(str(TESTS / 'kinds/*.py'))}]",
        ]
        lines += [f"options = {_inline(kind.arguments)}"] if kind.arguments else []
    path = folder / "plan.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _inline(value: object) -> str:
    """A value as TOML writes it in one line; a free size is "?"."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_inline(v)}' for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps("?" if value is None else value)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="rows of the table; none: all")
    parser.add_argument("--table", choices=("kinds", "layers", "networks"), default="layers")
    chosen = parser.parse_intermixed_args()
    print(write_plan(chosen.folder, chosen.table, chosen.names))


if __name__ == "__main__":
    main()
