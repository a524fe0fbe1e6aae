"""Which kinds of vision models arrive at which targets: every kind of tests/kinds, every target.

Each kind is exported by the Python API and then checked by code that shares nothing with it
(tests/kinds/check.py). A few run in a process of their own, so that a crash is a cell of the table.
What is there already is not measured again: delete the JSON file to start anew.

    python benchmarks/kinds_table.py
    python benchmarks/kinds_table.py unet siamese --targets tflite-int8,onnx-int8 --again
    python benchmarks/kinds_table.py --table layers
    python benchmarks/kinds_table.py --table layers --page
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from provenance import ROOT, read_commit

sys.path.insert(0, str(ROOT / "tests"))

from edgevit.formats.registry import TARGETS, find_targets
from kinds import hub_zoo, layers_zoo, networks_zoo
from kinds.kind import Kind
from kinds.trial import State, Trial, try_targets
from kinds.zoo import KINDS

TIME_LIMIT_S = 3600  # of one process
Cells = dict[str, dict[str, Any]]  # trials as documents, by "kind target"
Cell = tuple[str, str]  # a kind and a target


@dataclass(frozen=True)
class Table:
    """One page and what fills it.

    Attributes:
        name: on the command line; of the page and of the file of results.
        title: of the page.
        about: what its rows are, a sentence or two.
        column: head of the column of rows.
        sections: kinds by the title of their section; one section may have none.
        at_once: kinds that one process tries, one after the other.
    """

    name: str
    title: str
    about: str
    column: str
    sections: Mapping[str, tuple[Kind, ...]]
    at_once: int = 1

    @property
    def result(self) -> Path:
        """The file of trials."""
        return ROOT / "benchmarks" / f"{self.name}.json"

    @property
    def page(self) -> Path:
        """The page that is written from it."""
        return ROOT / "docs" / f"{self.name}.md"

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds in the order of the page."""
        return [kind.name for kinds in self.sections.values() for kind in kinds]

    @property
    def missing(self) -> list[str]:
        """Names of the kinds whose package is not installed."""
        found = (kind for kinds in self.sections.values() for kind in kinds)
        return [kind.name for kind in found if kind.missing]


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(
            "kinds",
            "Kinds of models",
            "Every kind of `tests/kinds/zoo.py` is a small Keras model with seeded weights.",
            "kind",
            {"": tuple(KINDS.values())},
        ),
        Table(
            "layers",
            "Layers",
            "Every layer and activation of Keras that a vision model can hold, in a small model "
            "with seeded weights (`tests/kinds/layers_zoo.py`).",
            "layer",
            layers_zoo.BY_ROOM,
            at_once=16,
        ),
        Table(
            "networks",
            "Networks",
            "The smallest member of each family of keras.applications, MLPerf Tiny's networks, "
            "transfer learning (`tests/kinds/networks_zoo.py`) and the vision families of "
            "keras-hub (`tests/kinds/hub_zoo.py`, with the extra `hub`), on small pictures and "
            "with seeded weights.",
            "network",
            {
                "keras.applications, MLPerf Tiny, transfer learning": networks_zoo.KINDS,
                "keras-hub": hub_zoo.KINDS,
            },
        ),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="all where none is named")
    parser.add_argument("--table", default="kinds", choices=TABLES, help="which page")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--json", type=Path, help="read, and written after each process")
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--cells", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cells:
        run_cells(json.loads(options.cells))
        return
    table = TABLES[options.table]
    path = options.json or table.result
    unknown = sorted(set(options.kinds) - set(table.kinds))
    if unknown:
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(table.kinds)}")
    cells = read_cells(path)
    if not options.page:
        targets = [target.name for target in find_targets(options.targets)]
        missing = [name for name in options.kinds or table.kinds if name in table.missing]
        if missing:
            print(f"not measured, as their package is not installed: {', '.join(missing)}")
        wanted = [
            (kind, target)
            for kind in options.kinds or table.kinds
            for target in targets
            if kind not in missing and (options.again or _key(kind, target) not in cells)
        ]
        for part in split_cells(wanted, table.at_once):
            for trial in run_process(part):
                cells[_key(trial.kind, trial.target)] = asdict(trial)
                print(f"{trial.kind:20} {trial.target:20} {trial.state} {trial.seconds} s", end="")
                print("" if trial.state is State.RIGHT else f"  {trial.text}", flush=True)
            document = {"commit": read_commit(), "cells": cells}
            path.write_text(json.dumps(document, indent=1) + "\n")
        print("\n" + render_counts(cells))
    if options.page or path == table.result:
        table.page.write_text(render_page(table, cells))


def split_cells(cells: Sequence[Cell], at_once: int) -> list[list[Cell]]:
    """Cells in groups of so many kinds."""
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    starts = range(0, len(kinds), at_once)
    groups = [set(kinds[start : start + at_once]) for start in starts]
    return [[cell for cell in cells if cell[0] in group] for group in groups]


def run_cells(cells: Sequence[Cell]) -> None:
    """A process's work: prints a line of JSON after each cell."""
    for kind, group in itertools.groupby(cells, key=lambda cell: cell[0]):
        with tempfile.TemporaryDirectory(prefix="kinds-") as folder:
            try_targets(
                kind,
                [TARGETS[target] for _, target in group],
                Path(folder),
                lambda trial: print(f"@{json.dumps(asdict(trial))}", flush=True),
            )


def run_process(cells: Sequence[Cell]) -> Iterator[Trial]:
    """Trials in a process of their own; where it dies, the next begins after the cell."""
    waiting = list(cells)
    while waiting:
        started = time.perf_counter()
        command = [sys.executable, __file__, "--cells", json.dumps(waiting)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
            printed, why = run.stdout, f"the process ended with {run.returncode}: {run.stderr}"
        except subprocess.TimeoutExpired as error:
            printed = (error.stdout or b"").decode()
            why = f"not done after {TIME_LIMIT_S} s"
        for line in printed.splitlines():
            if line.startswith("@"):
                found = json.loads(line[1:])
                waiting.remove((found["kind"], found["target"]))
                yield Trial(**{**found, "state": State(found["state"])})
        if waiting:
            (kind, lost), seconds = waiting.pop(0), round(time.perf_counter() - started, 1)
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
    State.USELESS: "useless",
    State.FAILED: "**FAILED**",
    State.TRACEBACK: "**TRACEBACK**",
}
HEAD = """\
# {title}

Written by `benchmarks/kinds_table.py` from `{result}`: not edited by hand. {about}
It is exported by the Python API to every target and then checked by code that shares nothing with
the exporter (`tests/kinds/check.py`), on inputs that neither saw.

"yes": the file was verified, and the independent check agrees. "lossy": the file is right, but its
precision costs more than the target's limit; the figure is the worst mean |difference| over the
deviation. "refused": one line said why, and nothing was written. "useless": nothing was written
either, since rounded so coarsely the network says less than a constant would, as the verification
said and the check agrees; the figure is the same. An empty cell was not measured."""


def render_page(table: Table, cells: Cells) -> str:
    """A page: a row a kind, a column a target, and a line for each cell that is not yes."""
    targets = [name for name in TARGETS if any(cell["target"] == name for cell in cells.values())]
    result = table.result.relative_to(ROOT)
    parts = [HEAD.format(title=table.title, about=table.about, result=result)]
    parts.append(f"{render_counts(cells)}.")
    for title, kinds in table.sections.items():
        parts += [f"## {title}"] if title else []
        parts.append(_render_rows(table.column, kinds, targets, cells))
        absent = [kind for kind in kinds if not any(_key(kind.name, t) in cells for t in targets)]
        if absent:
            parts.append(f"Not measured: {', '.join(f'`{kind.name}`' for kind in absent)}.")
    notes = [note for name in table.kinds for note in _render_notes(name, targets, cells)]
    if notes:
        parts += ["## What is not yes", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def _render_rows(column: str, kinds: Sequence[Kind], targets: Sequence[str], cells: Cells) -> str:
    rows = [
        f"| {' | '.join([column, 'what it is', *targets])} |",
        f"| {' | '.join(['---'] * (len(targets) + 2))} |",
    ]
    for kind in kinds:
        found = [cells.get(_key(kind.name, target)) for target in targets]
        marks = ["" if cell is None else _mark(cell) for cell in found]
        if any(found):
            rows.append(f"| {' | '.join([f'`{kind.name}`', kind.about, *marks])} |")
    return "\n".join(rows)


def _render_notes(name: str, targets: Sequence[str], cells: Cells) -> list[str]:
    """A line for each thing that is said of a kind's cells, whatever the targets."""
    said: dict[tuple[str, str], list[str]] = {}
    for target in targets:
        cell = cells.get(_key(name, target))
        if cell and cell["state"] != State.RIGHT:
            text = cell["text"].replace(f"{name}-{target}", name).replace(target, "the target")
            said.setdefault((cell["state"], text), []).append(f"`{target}`")
    return [
        f"- `{name}` as {', '.join(where)}, {state}: {text}"
        for (state, text), where in said.items()
    ]


def _mark(cell: dict[str, Any]) -> str:
    if cell["state"] in (State.LOSSY, State.USELESS):
        return f"{cell['state']} {max(output['mean'] for output in cell['outputs'].values()):.2g}"
    return MARKS[State(cell["state"])]


def _key(kind: str, target: str) -> str:
    return f"{kind} {target}"


if __name__ == "__main__":
    main()
