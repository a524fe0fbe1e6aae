"""Which kinds of vision models arrive at which targets: every kind of tests/kinds, every target.

Each kind is exported by the Python API and then checked by code that shares nothing with it
(tests/kinds/check.py). Each runs in a process of its own, so that a crash is a cell of the table.
What is there already is not measured again: delete the JSON file to start anew.

    python benchmarks/kinds_table.py
    python benchmarks/kinds_table.py unet siamese --targets tflite-int8,onnx-int8 --again
    python benchmarks/kinds_table.py --page
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provenance import ROOT, read_commit

sys.path.insert(0, str(ROOT / "tests"))

from edgevit.formats.registry import TARGETS, find_targets
from kinds.trial import State, Trial, try_targets
from kinds.zoo import KINDS

RESULT = ROOT / "benchmarks" / "kinds.json"
PAGE = ROOT / "docs" / "kinds.md"
TIME_LIMIT_S = 1800  # of one kind's process
Cells = dict[str, dict[str, Any]]  # trials as documents, by "kind target"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="all where none is named")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--json", type=Path, default=RESULT, help="read, and written after a kind")
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    parser.add_argument("--page", action="store_true", help="only write docs/kinds.md")
    parser.add_argument("--one", metavar="KIND", help=argparse.SUPPRESS)
    options = parser.parse_args()
    targets = [target.name for target in find_targets(options.targets)]
    if options.one:
        run_one(options.one, targets)
        return
    unknown = sorted(set(options.kinds) - set(KINDS))
    if unknown:
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    cells = read_cells(options.json)
    if not options.page:
        for kind in options.kinds or KINDS:
            wanted = [t for t in targets if options.again or _key(kind, t) not in cells]
            for trial in run_process(kind, wanted):
                cells[_key(trial.kind, trial.target)] = asdict(trial)
                print(f"{trial.kind:20} {trial.target:20} {trial.state} {trial.seconds} s", end="")
                print("" if trial.state is State.RIGHT else f"  {trial.text}", flush=True)
            document = {"commit": read_commit(), "cells": cells}
            options.json.write_text(json.dumps(document, indent=1) + "\n")
        print("\n" + render_counts(cells))
    if options.page or options.json == RESULT:
        PAGE.write_text(render_page(cells))


def run_one(kind: str, targets: Sequence[str]) -> None:
    """A process's work: prints a line of JSON after each target."""
    rows = [TARGETS[name] for name in targets]
    with tempfile.TemporaryDirectory(prefix="kinds-") as folder:
        try_targets(
            kind,
            rows,
            Path(folder),
            lambda trial: print(f"@{json.dumps(asdict(trial))}", flush=True),
        )


def run_process(kind: str, targets: Sequence[str]) -> Iterator[Trial]:
    """Trials of a kind in a process of its own; where it dies, the next begins after the cell."""
    waiting = list(targets)
    while waiting:
        started = time.perf_counter()
        command = [sys.executable, __file__, "--one", kind, "--targets", ",".join(waiting)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
            printed, why = run.stdout, f"the process ended with {run.returncode}: {run.stderr}"
        except subprocess.TimeoutExpired as error:
            printed = (error.stdout or b"").decode()
            why = f"not done after {TIME_LIMIT_S} s"
        for line in printed.splitlines():
            if line.startswith("@"):
                found = json.loads(line[1:])
                waiting.remove(found["target"])
                yield Trial(**{**found, "state": State(found["state"])})
        if waiting:
            lost, seconds = waiting.pop(0), round(time.perf_counter() - started, 1)
            yield Trial(kind, lost, State.TRACEBACK, " ".join(why.split())[-400:], seconds)


def read_cells(path: Path) -> Cells:
    """What was measured before; empty where there is no file."""
    return json.loads(path.read_text())["cells"] if path.exists() else {}


def render_counts(cells: Cells) -> str:
    """How many cells there are of each state."""
    states = [cell["state"] for cell in cells.values()]
    return ", ".join(f"{states.count(state)} {state}" for state in State if state in states)


MARKS = {
    State.RIGHT: "yes",
    State.LOSSY: "lossy",
    State.REFUSED: "refused",
    State.FAILED: "**FAILED**",
    State.TRACEBACK: "**TRACEBACK**",
}
HEAD = """\
# Kinds of models

Written by `benchmarks/kinds_table.py` from `benchmarks/kinds.json`: not edited by hand. Every kind
of `tests/kinds/zoo.py` is a small Keras model with seeded weights. It is exported by the Python API
to every target and then checked by code that shares nothing with the exporter
(`tests/kinds/check.py`), on inputs that neither saw.

"yes": the file was verified, and the independent check agrees. "lossy": the file is right, but its
precision costs more than the target's limit; the figure is the worst mean |difference| over the
deviation. "refused": one line said why, and nothing was written."""


def render_page(cells: Cells) -> str:
    """docs/kinds.md: a row a kind, a column a target, and a line for each cell that is not yes."""
    targets = [name for name in TARGETS if any(cell["target"] == name for cell in cells.values())]
    rows = [
        f"| {' | '.join(['kind', 'what it is', *targets])} |",
        f"| {' | '.join(['---'] * (len(targets) + 2))} |",
    ]
    notes = []
    for name, kind in KINDS.items():
        found = [cells.get(_key(name, target)) for target in targets]
        if not any(found):
            continue
        marks = ["" if cell is None else _mark(cell) for cell in found]
        rows.append(f"| {' | '.join([f'`{name}`', kind.about, *marks])} |")
        notes += [
            f"- `{name}` as `{cell['target']}`, {cell['state']}: {cell['text']}"
            for cell in found
            if cell and cell["state"] != State.RIGHT
        ]
    parts = [HEAD, "\n".join(rows), f"{render_counts(cells)}."]
    if notes:
        parts += ["## What is not yes", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def _mark(cell: dict[str, Any]) -> str:
    if cell["state"] == State.LOSSY:
        return f"lossy {max(output['mean'] for output in cell['outputs'].values()):.2g}"
    return MARKS[State(cell["state"])]


def _key(kind: str, target: str) -> str:
    return f"{kind} {target}"


if __name__ == "__main__":
    main()
