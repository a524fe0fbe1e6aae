"""The README's table of accuracies: every shipped network and target, from the results folder.

    python benchmarks/accuracy_table.py

One column for each `results/accuracy_of_targets_*.json`, which `accuracy_of_targets.py` writes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgevit.core.target import TARGETS
from edgevit.models import MODELS, split_name

RESULTS = Path(__file__).parent / "results"
PATTERN = "accuracy_of_targets_*.json"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(draw_table(read_results(RESULTS)))


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The documents of a folder: the tutorials' sizes first, in the order of `edgevit models`."""
    found = [json.loads(path.read_text()) for path in folder.glob(PATTERN)]
    order = list(MODELS)

    def place(document: dict[str, Any]) -> tuple[bool, int]:
        name, variant = split_name(document["keras"]["model"])
        return variant == "nano", order.index(name)

    return sorted(found, key=place)


def draw_table(documents: list[dict[str, Any]]) -> str:
    """Markdown: percent top-1, and megabytes in brackets; a dash where a file was not counted."""
    names = [document["keras"]["model"] for document in documents]
    float_accuracies = [f"{document['keras']['top1']:.2f}" for document in documents]
    lines = [
        f"| top-1 % (MB) | {' | '.join(names)} |",
        f"| --- |{' --- |' * len(names)}",
        f"| float Keras | {' | '.join(float_accuracies)} |",
    ]
    for target in TARGETS:
        cells = [draw_cell(document.get(target)) for document in documents]
        lines.append(f"| {target} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_cell(row: dict[str, Any] | None) -> str:
    """One file's."""
    if row is None:
        return "-"
    return f"{row['accuracy']['top1']:.2f} ({row['size_bytes'] / 1e6:.2f})"


if __name__ == "__main__":
    main()
