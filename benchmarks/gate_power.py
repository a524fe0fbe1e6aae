"""How often the latency gate calls a file slower than itself, and how often it finds a slowdown.

A/A: the same file as candidate and baseline, half of the comparisons against a limit of 2.5 % and
half against 5 %, and half of each with a process beside them that keeps a core busy. Every 'slower'
is false.

Power: the candidate's inferences are made longer by 5 % (limit 2.5 %) and by 10 % (limit 5 %), by
spinning in the timing loop for that share of each inference's own time. The slowdown is twice the
limit, since a file exactly at the limit is called slower or ok by chance.

Wanted: at most 2 % of A/A 'slower'; at least 80 % of conclusive ones 'slower' at 5 %, 95 % at 10 %.
An hour of a machine on which nothing else runs.

    python benchmarks/gate_power.py --json benchmarks/results/gate_power.json
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator

from provenance import result_path, write_result

from edgevit.bench.cases import plan_cases
from edgevit.bench.gate import run_gate
from edgevit.bench.gating import GateRule
from edgevit.core.measurements import BenchmarkCase
from edgevit.verbs.export import export

Setting = tuple[float, float, bool]  # slowdown, limit, whether a core is kept busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shiftvit:nano", help="as `edgevit models` calls it")
    parser.add_argument("--target", default="tflite-int8", help="a file of about 1 ms or less")
    parser.add_argument("--comparisons", type=int, default=200, help="A/A comparisons")
    parser.add_argument("--injected", type=int, default=40, help="comparisons of each slowdown")
    parser.add_argument("--json", type=result_path, help="where to write the counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = export(options.model, options.target, folder)
        assert outcome.artifact is not None
        (case,) = plan_cases([outcome.artifact.path])
        counts: dict[Setting, Counter] = {}
        for number, setting in enumerate(make_plan(options.comparisons, options.injected)):
            verdict = compare(case, setting, seed=number)
            counts.setdefault(setting, Counter())[verdict] += 1
            print(number + 1, *setting, verdict, file=sys.stderr, flush=True)
    rows = []
    for setting in sorted(counts):
        named = dict(zip(("slowdown", "limit", "busy_core"), setting, strict=True))
        rows.append({**named, **counts[setting]})
        print(rows[-1])
    if options.json:
        body = {"target": options.target, "runtime": case.runtime, "rows": rows}
        write_result(options.json, body, [options.model])


def make_plan(comparisons: int, injected: int) -> list[Setting]:
    """All comparisons, in random order, so that no kind meets a better hour than another."""
    plan = [(0.0, (0.025, 0.05)[n // 2 % 2], n % 2 == 1) for n in range(comparisons)]
    for slowdown in (0.05, 0.10):
        plan += [(slowdown, slowdown / 2, n % 2 == 1) for n in range(injected)]
    random.Random(0).shuffle(plan)
    return plan


def compare(case: BenchmarkCase, setting: Setting, seed: int) -> str:
    """The verdict of one comparison of a file with itself, as 'edgevit benchmark --baseline'."""
    slowdown, limit, busy = setting
    with busy_core() if busy else contextlib.nullcontext():
        return str(run_gate(case, case, GateRule(limit), seed, slowdown=slowdown).verdict)


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A process that computes without pause."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
