"""``python -m robustness.campaign``: thousands of damaged inputs over all verbs, and a table.

Each case is a seed: ``--only 1234`` runs one again and shows what it said.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustness.cases import KINDS, Kind, Setting, make_setting
from robustness.jury import Ruling, run_forked
from robustness.server import LIGHT

PASSES = "pass on damage"
HEAVY = ("keras", "tensorflow")
FAULTS = (
    "traceback",
    "internal error",
    "signal",
    "hang",
    "memory",
    "touched",
    "litter",
    "usage",
    "no line",
    "controls",
)


@dataclass(frozen=True)
class Case:
    """One case that ran.

    Attributes:
        kind: of it.
        arguments: of the command.
        ruling: what became of it.
    """

    kind: Kind
    arguments: tuple[str, ...]
    ruling: Ruling

    @property
    def faults(self) -> tuple[str, ...]:
        """What must not happen."""
        proves = self.arguments[0] in ("verify", "deploy")
        passed = self.kind.sealed and proves and self.ruling.code == 0
        return (*self.ruling.faults, *([PASSES] if passed else []))


def run_case(kind: Kind, seed: int, setting: Setting, root: Path) -> Case:
    """Makes one damaged input in a folder of its own, and runs one command on it."""
    folder = root / f"case{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arguments = kind.prepare(np.random.default_rng((seed, 29)), setting, folder)
    ruling = run_forked(arguments, folder)
    case = Case(kind, tuple(map(str, arguments)), ruling)
    if not case.faults:
        shutil.rmtree(folder, ignore_errors=True)
    return case


def choose_kind(seed: int, kinds: tuple[Kind, ...] = KINDS) -> Kind:
    """The kind of a seed's case."""
    shares = np.array([kind.share for kind in kinds])
    rng = np.random.default_rng((seed, 7))
    return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]


def warm_up(heavy: bool) -> None:
    """Imports what commands need, so that children need not."""
    for module in LIGHT if not heavy else (*LIGHT, *HEAVY):
        importlib.import_module(module)


def tell_case(seed: int, case: Case) -> str:
    """One case in a few lines."""
    ruling = case.ruling
    said = (ruling.err or ruling.out)[-1500:].strip()
    return (
        f"seed {seed}: {', '.join(case.faults) or 'fine'}: edgevit {' '.join(case.arguments)}\n"
        f"  exit {ruling.code}, {ruling.seconds:.1f} s, {ruling.peak >> 20} MiB, "
        f"touched {list(ruling.touched)}\n  {said!r}"
    )


def log_case(case: Case) -> str:
    """What the table needs of a case, as one line of JSON."""
    ruling = case.ruling
    row = {"kind": case.kind.name, "verb": case.arguments[0], "faults": case.faults}
    row["code"] = ruling.code
    return json.dumps({**row, "seconds": ruling.seconds, "peak": ruling.peak})


def draw_table(rows: list[dict]) -> str:
    """Tried and failed, by kind; rows are those of :func:`log_case`."""
    tried = Counter(row["kind"] for row in rows)
    failed: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        failed[row["kind"]].update(row["faults"])
    columns = (*FAULTS, PASSES)
    lines = [f"{'':34}{'tried':>7}" + "".join(f"{name:>16}" for name in columns)]
    for kind in KINDS:
        figures = "".join(f"{failed[kind.name][name]:>16}" for name in columns)
        lines.append(f"{kind.name:34}{tried[kind.name]:>7}{figures}")
    total = sum(failed.values(), Counter())
    lines.append(f"{'all':34}{len(rows):>7}" + "".join(f"{total[name]:>16}" for name in columns))
    slowest, largest = max(row["seconds"] for row in rows), max(row["peak"] for row in rows)
    codes = dict(Counter(row["code"] for row in rows))
    lines.append(f"slowest {slowest:.1f} s, largest {largest / 2**20:,.0f} MiB, exit codes {codes}")
    return "\n".join(lines)


def read_log(path: Path) -> list[dict]:
    """The rows of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def _is_wanted(kind: Kind, chosen: argparse.Namespace) -> bool:
    wanted = chosen.kinds in kind.name and kind.is_possible
    return wanted and not (chosen.light and kind.needs_all)


def main() -> None:
    """See the module."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--only", type=int, help="one seed, with what it said")
    parser.add_argument("--light", action="store_true", help="seconds: what needs no Keras")
    parser.add_argument("--kinds", default="", help="names that hold this alone")
    parser.add_argument("--base", type=Path, help="a folder that robustness.base wrote")
    parser.add_argument("--log", type=Path, help="a file that gets a line for each case")
    parser.add_argument("--table", type=Path, nargs="+", help="logs, whose table is printed")
    chosen = parser.parse_args()
    if chosen.table:
        print(draw_table([row for log in chosen.table for row in read_log(log)]))
        return
    from robustness.base import find_base, find_light_base

    with tempfile.TemporaryDirectory(prefix="campaign-") as place:
        root = Path(place)
        exports, keras, weights = (
            find_light_base() if chosen.light else find_base(chosen.base, swept=True)
        )
        setting = make_setting(root, exports, keras, weights)
        seeds = (
            [chosen.only]
            if chosen.only is not None
            else range(chosen.first, chosen.first + chosen.cases)
        )
        kinds = tuple(kind for kind in KINDS if _is_wanted(kind, chosen))
        light = [seed for seed in seeds if not choose_kind(seed, kinds).heavy]
        heavy = [seed for seed in seeds if choose_kind(seed, kinds).heavy]
        cases = []
        for part, needs in ((light, False), (heavy, True)):
            if part:
                warm_up(needs)
            for seed in part:
                case = run_case(choose_kind(seed, kinds), seed, setting, root)
                cases.append(case)
                if chosen.log:
                    with chosen.log.open("a") as stream:
                        stream.write(log_case(case) + "\n")
                if case.faults or chosen.only is not None:
                    print(tell_case(seed, case), flush=True)
        print(draw_table([json.loads(log_case(case)) for case in cases]))
        if any(case.faults for case in cases):
            sys.exit(1)


if __name__ == "__main__":
    main()
