"""Does the gate cry wolf, and does it see one?

A/A: the same file as head and base, half of the comparisons against a limit of 2.5 % and half against
5 %, and half of each with a process beside them that keeps a core busy. Every 'slower' is false.

Power: head's inferences are made longer by 5 % (limit 2.5 %) and by 10 % (limit 5 %), by spinning in
the timing loop for that share of each inference's own time. The slowdown is twice the limit: a file
exactly at the limit is called slower or ok by chance, as it must be, so power is a matter of how far
above the limit a file lies. Counted are the conclusive comparisons that say 'slower'; how many were
inconclusive stands beside them.

Wanted: at most 2 % of A/A 'slower'; at least 80 % of conclusive ones 'slower' at 5 %, 95 % at 10 %.

    python benchmarks/gate_power.py exports/shiftvit-tflite-int8.tflite --json benchmarks/results/gate_power.json
"""  # noqa: E501

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.documents import to_json
from edgevit.bench.cases import plan_cases
from edgevit.bench.environment import describe_environment
from edgevit.bench.gate import run_gate
from edgevit.bench.gating import GateRule, GateVerdict
from edgevit.core.measurements import BenchmarkCase

HOG = "while True: pass"


@dataclass(frozen=True)
class Setting:
    """One kind of comparison.

    Attributes:
        slowdown: of head; 0 for A/A.
        limit: of the gate.
        hog: whether another process keeps a core busy.
    """

    slowdown: float
    limit: float
    hog: bool


@dataclass(frozen=True)
class Outcome:
    """One comparison, without its samples."""

    setting: Setting
    verdict: GateVerdict
    ratio: tuple[float, float, float]
    rounds: int
    processes: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="a .tflite or .onnx file of about 1 ms or less")
    parser.add_argument("--comparisons", type=int, default=200, help="A/A comparisons")
    parser.add_argument("--injected", type=int, default=40, help="comparisons of each slowdown")
    parser.add_argument("--most-rounds", type=int, default=GateRule.most_rounds)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write every comparison")
    options = parser.parse_args()
    (case,) = plan_cases([options.file])
    plan = make_plan(options.comparisons, options.injected, options.seed)
    started = time.monotonic()
    outcomes = []
    for number, setting in enumerate(plan):
        outcomes.append(compare(case, setting, options.most_rounds, seed=number))
        spent = time.monotonic() - started
        left = spent / (number + 1) * (len(plan) - number - 1)
        print(
            f"\r{number + 1} of {len(plan)}, {left / 60:.0f} min left ",
            end="",
            file=sys.stderr,
            flush=True,
        )
    print(file=sys.stderr)
    rows = summarise(outcomes)
    environment = describe_environment()
    print(f"{environment}; {options.file.name} in {case.runtime}, one thread")
    print_table(rows)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    if options.json:
        document = {
            "file": options.file.name,
            "runtime": case.runtime,
            "environment": environment,
            "summary": rows,
            "outcomes": outcomes,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(document, indent=1) + "\n")


def make_plan(comparisons: int, injected: int, seed: int) -> list[Setting]:
    """All comparisons, in random order, so that no kind meets a better hour than another."""
    plan = [Setting(0.0, (0.025, 0.05)[n // 2 % 2], n % 2 == 1) for n in range(comparisons)]
    for slowdown in (0.05, 0.10):
        plan += [Setting(slowdown, slowdown / 2, n % 2 == 1) for n in range(injected)]
    random.Random(seed).shuffle(plan)
    return plan


def compare(case: BenchmarkCase, setting: Setting, most_rounds: int, seed: int) -> Outcome:
    """One comparison of a file with itself, as 'edgevit benchmark --baseline' does it."""
    started = time.monotonic()
    rule = GateRule(setting.limit, most_rounds=most_rounds)
    with busy_core() if setting.hog else contextlib.nullcontext():
        report = run_gate(case, case, rule, seed, slowdown=setting.slowdown)
    ratio = report.ratio
    return Outcome(
        setting,
        report.verdict,
        (ratio.middle, ratio.low, ratio.high),
        report.rounds,
        len(report.processes),
        time.monotonic() - started,
    )


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A process that computes without pause."""
    hog = subprocess.Popen([sys.executable, "-c", HOG])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def summarise(outcomes: list[Outcome]) -> list[dict]:
    """Counts for each setting, then for each slowdown over all its settings."""
    settings = sorted({o.setting for o in outcomes}, key=lambda s: (s.slowdown, s.limit, s.hog))
    groups = [(s.slowdown, f"{100 * s.limit:g} %", "yes" if s.hog else "no", [s]) for s in settings]
    for slowdown in sorted({s.slowdown for s in settings}):
        groups.append((slowdown, "all", "all", [s for s in settings if s.slowdown == slowdown]))
    rows = []
    for slowdown, limit, hog, members in groups:
        found = [o for o in outcomes if o.setting in members]
        counts = {kind: sum(o.verdict is kind for o in found) for kind in GateVerdict}
        conclusive = len(found) - counts[GateVerdict.INCONCLUSIVE]
        rows.append(
            {
                "slowdown": slowdown,
                "limit": limit,
                "hog": hog,
                "comparisons": len(found),
                **{str(kind): count for kind, count in counts.items()},
                "slower_of_conclusive": counts[GateVerdict.SLOWER] / conclusive
                if conclusive
                else None,
                "seconds": sum(o.seconds for o in found) / len(found),
            }
        )
    return rows


def print_table(rows: list[dict]) -> None:
    """As Markdown."""
    headings = ["slowdown", "limit", "busy core", "comparisons", "ok", "slower", "inconclusive"]
    print("| " + " | ".join([*headings, "slower of conclusive", "seconds each"]) + " |")
    print("| --- " * 9 + "|")
    for row in rows:
        share = row["slower_of_conclusive"]
        print(
            f"| {100 * row['slowdown']:g} % | {row['limit']} | {row['hog']} | {row['comparisons']} "
            f"| {row['ok']} | {row['slower']} | {row['inconclusive']} "
            f"| {'-' if share is None else f'{100 * share:.0f} %'} | {row['seconds']:.1f} |"
        )


if __name__ == "__main__":
    main()
