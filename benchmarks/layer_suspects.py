"""Does diff accuse a sound layer? Every kind of tests/kinds.

Each file is looked at as 'edgevit diff' does. What it calls suspect in a right one is a false
alarm.

    python benchmarks/layer_suspects.py --targets tflite-int8,onnx-int8 \\
        --json benchmarks/results/layer_suspects.json
    python benchmarks/layer_suspects.py --table
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from provenance import RESULTS, ROOT, result_path, write_result

sys.path.insert(0, str(ROOT / "tests"))

from edgevit.base.errors import EdgevitError
from edgevit.formats.registry import find_targets
from edgevit.verbs.diff import diff
from kinds.trial import run_exports
from kinds.zoo import KINDS, built

DEFAULT = RESULTS / "layer_suspects.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", help="all where none is named")
    parser.add_argument("--targets", default="tflite-int8,onnx-int8", help="commas between")
    parser.add_argument("--json", type=result_path, help="where to add the rows")
    parser.add_argument("--table", action="store_true", help="only print what was found")
    options = parser.parse_args()
    path = options.json or DEFAULT
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    if not options.table:
        for kind in options.kinds or KINDS:
            for row in look_at(kind, options.targets):
                place = row["kind"], row["target"]
                rows = [old for old in rows if (old["kind"], old["target"]) != place] + [row]
                print(json.dumps(row), flush=True)
            if options.json:
                write_result(path, {"rows": rows}, ["shiftvit:nano"])
    print("\n".join(render_table(rows)))


def look_at(kind: str, targets: str) -> Iterator[dict[str, Any]]:
    """A row for each target that the kind can be exported to."""
    with tempfile.TemporaryDirectory() as place:
        try:
            outcomes = run_exports(kind, find_targets(targets), Path(place), keep_failed=True)
        except EdgevitError:  # refused by its only target
            return
        for outcome in outcomes:
            if outcome.artifact is None:
                continue
            row = {"kind": kind, "target": outcome.target.name, "verdict": str(outcome.verdict)}
            try:
                found = diff(outcome.artifact.path, built(kind), **KINDS[kind].arguments)
            except EdgevitError as error:
                yield {**row, "refused": str(error)}
                continue
            held = [layer for layer in found.layers if not layer.adds_up]
            worst = max(held, key=lambda layer: layer.excess_db)
            yield {
                **row,
                "compared": len(found.layers),
                "left out": len(found.unaligned),
                "worst": worst.layer,
                "worst_kind": worst.kind,
                "worst_db": round(worst.excess_db, 1),
                "clipped": worst.clipped,
                "suspects": [layer.layer for layer in found.suspects],
            }


def render_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Files, layers and suspects by target."""
    lines = [
        "| target | files | layers compared | left out | suspects | largest, dB beyond |",
        f"|{' --- |' * 6}",
    ]
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == target and "refused" not in row]
        if not own:
            continue
        worst = max(own, key=lambda row: row["worst_db"])
        cells = [
            *(f"`{target}`", len(own), sum(row["compared"] for row in own)),
            *(sum(row["left out"] for row in own), sum(len(row["suspects"]) for row in own)),
            f"{worst['worst_db']} (`{worst['kind']}`, {worst['worst_kind']})",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


if __name__ == "__main__":
    main()
