"""Sweeps that are killed at random moments and go on: nothing is lost, done twice or left behind.

The plan is small networks that ship, really exported, verified and evaluated. It runs once
undisturbed. Then, for each of a run itself, one of its workers and a node of a Ray cluster, it runs
into another folder and is disturbed at random moments; a killed run is started again. Counted are
cells that were given up (a process killed twice is a row with its reason, and done by --again),
cells that were published and then done again, files that differ from the undisturbed ones, and
hidden files that the last run left.

    python benchmarks/sweep_kills.py --kills 10 --json benchmarks/results/sweep_kills.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provenance import result_path, write_result

os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a node starts beside other work

from edgevit.base.packages import is_importable
from edgevit.sweeps.process import list_children

MODELS = ("shiftvit:nano", "patchconvnet:nano")
TARGETS = ("tflite-float32", "tflite-int8", "onnx-float32", "onnx-int8")
EARLIEST_S, LATEST_S = 1.0, 14.0  # after a start or the last disturbance


@dataclass
class Sweep:
    """A folder of results and the run that fills it.

    Attributes:
        plan, out: of it.
        options: of the command line.
        again: cells that were published and then written anew.
    """

    plan: Path
    out: Path
    options: tuple[str, ...] = ()
    again: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Starts a run, or goes on with it."""
        command = [sys.executable, "-m", "edgevit", "sweep", str(self.plan), "--out", str(self.out)]
        quiet = subprocess.DEVNULL
        return subprocess.Popen([*command, *self.options, *more, "-q"], stdout=quiet, stderr=quiet)

    def look(self) -> int:
        """Counts what was published; what changed since the last look was done again."""
        now = {
            str(path.parent.relative_to(self.out)): path.stat().st_mtime_ns
            for path in self.out.glob("cells/*/*/cell.json")
        }
        self.again += sum(now.get(name) != when for name, when in self._seen.items())
        self._seen = now
        return len(now)

    def files(self) -> dict[str, str]:
        """sha256 by model and target."""
        documents = map(json.loads, (p.read_text() for p in self.out.glob("cells/*/*/cell.json")))
        return {f"{d['model']}/{d['target']}": d.get("sha256", "") for d in documents}

    def litter(self) -> list[str]:
        """Hidden files."""
        return [path.name for path in self.out.rglob(".*")]


def kill_run(process: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """The run itself, by one of three signals."""
    process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
    process.wait()
    return True


def kill_worker(process: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """One of its processes, as the system kills for want of memory; False if there is none."""
    found = list_children(process.pid)
    if found:
        with contextlib.suppress(OSError):
            os.kill(rng.choice(found), signal.SIGKILL)
    return bool(found)


def disturb(sweep: Sweep, hurt: Callable[..., bool], kills: int, rng: random.Random) -> int:
    """Runs a sweep to its end, disturbed so often; how many runs that took."""
    runs, done = 1, 0
    process = sweep.start()
    while True:
        wait = rng.uniform(EARLIEST_S, LATEST_S) if done < kills else None
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            sweep.look()
            done += hurt(process, rng)
        published = sweep.look()
        if process.poll() is not None:
            if published == len(MODELS) * len(TARGETS):
                if done >= kills:
                    return runs
                forget_one(sweep, rng)
            process = sweep.start()
            runs += 1


def forget_one(sweep: Sweep, rng: random.Random) -> None:
    """All is done before the last disturbance: one cell's document goes, so that work is left."""
    path = rng.choice(sorted(sweep.out.glob("cells/*/*/cell.json")))
    path.unlink()
    sweep._seen.pop(str(path.parent.relative_to(sweep.out)), None)


def on_nodes(folder: Path, plan: Path, kills: int, rng: random.Random) -> tuple[Sweep, int]:
    """The same on a Ray cluster of two nodes, of which the second is lost and replaced."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1)]

    def lose_node(process: subprocess.Popen[bytes], rng: random.Random) -> bool:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=1))
        return True

    sweep = Sweep(plan, folder / "node", ("--ray", cluster.address))
    try:
        return sweep, disturb(sweep, lose_node, kills, rng)
    finally:
        sweep.options = ()
        cluster.shutdown()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--json", type=result_path, help="where to write the counts")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sweep-kills-") as name:
        folder = Path(name)
        plan = folder / "plan.toml"
        sources = "".join(f'[[model]]\nsource = "{model}"\n' for model in MODELS)
        plan.write_text(f'targets = {list(TARGETS)}\n[defaults]\naccept = ["lossy"]\n{sources}')
        calm = Sweep(plan, folder / "calm")
        calm.start().wait()
        expected = calm.files()

        def count(what: str, sweep: Sweep, runs: int) -> None:
            given_up = sum(not digest for digest in sweep.files().values())
            sweep.start("--again").wait()
            found = sweep.files()
            row = {
                "killed": what,
                "times": chosen.kills,
                "runs": runs,
                "cells": len(found),
                "given_up": given_up,
                "done_again": sweep.again,
                "differing": sum(found.get(name) != digest for name, digest in expected.items()),
                "litter": len(sweep.litter()),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)

        for what, hurt in (("run", kill_run), ("worker", kill_worker)):
            sweep = Sweep(plan, folder / what)
            count(what, sweep, disturb(sweep, hurt, chosen.kills, rng))
        if is_importable("ray"):
            count("node", *on_nodes(folder, plan, chosen.kills, rng))
    if chosen.json:
        write_result(chosen.json, {"rows": rows}, MODELS)


if __name__ == "__main__":
    main()
