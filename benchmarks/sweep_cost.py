"""What a sweep costs: time with 1 and 2 local workers and on a Ray cluster of two nodes, memory.

Each way runs the same plan into a folder of its own; the results must be the same to the byte. Then
the first folder is run once more (nothing to do), with one model's file changed (its cells alone),
and compared with itself. Last, an evaluation of many images in one process, in 1 and 2, and on Ray.
Run it while nothing else runs; without Ray that part is left out.

    python benchmarks/sweep_cost.py --plan plans/shipped.toml
    python benchmarks/sweep_cost.py --models shiftvit:nano,patchconvnet:nano --limit 200
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provenance import result_path, write_result

from edgevit.base.packages import is_importable
from edgevit.sweeps.process import resident_bytes
from edgevit.verbs.sweep import sweep

TARGETS = "tflite-float32,tflite-dynamic,tflite-int8,onnx-float32,onnx-dynamic,onnx-int8"
MODELS = (
    "shiftvit,shiftvit:nano,patchconvnet,patchconvnet:nano,vit,focalnet,gcvit:cifar64,resnet:wide"
)


def write_plan(folder: Path, models: str, targets: str, limit: int) -> Path:
    """A plan of names; with an evaluation where EDGEVIT_DATA is set."""
    lines = [f"targets = {targets.split(',')}", "[defaults]", 'accept = ["lossy"]']
    if os.environ.get("EDGEVIT_DATA"):
        lines += ['evaluation = "$EDGEVIT_DATA"', f"limit = {limit}"]
    lines += [f'[[model]]\nsource = "{name}"' for name in models.split(",")]
    path = folder / "plan.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Peak:
    """The most memory that this process and all it started held."""

    def __init__(self) -> None:
        self.bytes, self._over = 0, threading.Event()

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.bytes = max(self.bytes, resident_bytes(os.getpid()))


def edgevit(*arguments: object) -> tuple[dict[str, Any], float, int]:
    """(its JSON document, seconds, peak bytes) of a command."""
    began = time.perf_counter()
    with Peak() as peak:
        command = [sys.executable, "-m", "edgevit", *map(str, arguments), "--json"]
        found = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if not found.stdout:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout), round(seconds, 2), peak.bytes


@contextmanager
def two_nodes() -> Iterator[str | None]:
    """The address of a Ray cluster of two nodes with a core each; None without Ray."""
    if not is_importable("ray"):
        yield None
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


ROWS: list[dict[str, Any]] = []


def tell(what: str, **figures: Any) -> None:
    """One line of JSON, and a row of the result."""
    ROWS.append({"what": what, **figures})
    print(json.dumps(ROWS[-1]), flush=True)


def compare_ways(plan: Path, folder: Path, ways: dict[str, tuple[object, ...]]) -> None:
    """Runs the plan in every way."""
    digests: dict[str, dict[str, str]] = {}
    walls: dict[str, float] = {}
    for name, options in ways.items():
        out = folder / name
        document, seconds, peak = edgevit("sweep", plan, "--out", out, *options)
        cells = document["cells"]
        walls[name] = seconds
        digests[name] = {f"{c['model']}/{c['target']}": c["sha256"] for c in cells}
        figures = {"cells": len(cells), "ran": document["ran"], "peak_gb": round(peak / 1e9, 2)}
        tell(name, seconds=seconds, **figures, sum_of_cells_s=round(_sum(cells), 1))
    first, *others = digests
    tell(
        "the same files as with the first",
        **{name: digests[name] == digests[first] for name in others},
        speed_up={name: round(walls[first] / walls[name], 2) for name in others},
    )
    if "ray" in walls:
        count = len(digests[first])
        overhead = (walls["ray"] - walls["local-2"]) / count
        tell("overhead of Ray a cell", seconds=round(overhead, 3), limit_s=1.5)


def _sum(cells: list[dict[str, Any]]) -> float:
    return sum(cell["seconds"] for cell in cells)


def do_nothing(shared: Any, tasks: Any, tell: Any) -> None:
    """A job whose cells cost nothing: what is left is the sweep itself."""
    for name, (target, _), _ in tasks:
        tell.started(name)
        tell.done(name, {"model": shared.model, "target": target, "key": "", "outcome": "pass"})


def measure_empty_cells(folder: Path, address: str | None) -> None:
    """Wall time of cells that do nothing, two at once, locally and on Ray."""
    folder.mkdir()
    (folder / "nets.py").write_text("")
    rows = "".join(f'[[model]]\nsource = "nets:m{n}"\nname = "m{n}"\n' for n in range(20))
    (folder / "plan.toml").write_text(f"targets = {TARGETS.split(',')}\n{rows}")
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    walls = {}
    for name, cluster in (("local", ()), ("ray", (address,))):
        if None in cluster:
            continue
        began = time.perf_counter()
        report = sweep(
            folder / "plan.toml",
            folder / name,
            jobs=2,
            executor=name,
            address="".join(map(str, cluster)),
            function=f"{Path(__file__).stem}:{do_nothing.__name__}",
        )
        walls[name] = (time.perf_counter() - began) / len(report.cells)
    tell(
        "a cell that does nothing", seconds={n: round(s, 3) for n, s in walls.items()}, limit_s=1.5
    )


def run_again(plan: Path, out: Path) -> None:
    """Nothing to do; then a comparison with itself; then one changed model."""
    document, seconds, _ = edgevit("sweep", plan, "--out", out)
    tell("second run", seconds=seconds, ran=document["ran"], limit_s=3.0)
    document, seconds, _ = edgevit("sweep", plan, "--out", out, "--against", out)
    tell("against itself", changes=len(document["changes"]), seconds=seconds)


def evaluate(model: str, limit: int, ways: dict[str, tuple[object, ...]]) -> None:
    """The same figures to the bit, whatever runs the images."""
    found = {}
    for name, options in ways.items():
        document, seconds, peak = edgevit("evaluate", model, "--limit", limit, *options)
        found[name] = document["top1"], document["top5"]
        figures = {"top1": document["top1"], "peak_gb": round(peak / 1e9, 2)}
        tell(f"evaluate {name}", seconds=seconds, images=limit, **figures)
    tell("evaluate: the same figures", same=len(set(found.values())) == 1)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=Path, help="instead of --models and --targets")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--targets", default=TARGETS)
    parser.add_argument("--limit", type=int, default=1000, help="images of each evaluation")
    parser.add_argument("--evaluate", default="shiftvit", help="float model, or a file")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="keep the results there")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    chosen = parser.parse_args()
    folder = chosen.out or Path(tempfile.mkdtemp(prefix="sweep-cost-"))
    folder.mkdir(parents=True, exist_ok=True)
    plan = chosen.plan or write_plan(folder, chosen.models, chosen.targets, chosen.limit)
    ways: dict[str, tuple[object, ...]] = {"local-1": ("--jobs", 1), "local-2": ("--jobs", 2)}
    with two_nodes() as address:
        sharing: dict[str, tuple[object, ...]] = dict(ways)
        if address is not None:
            sharing["ray"] = ("--ray", address, "--jobs", 2)
        compare_ways(plan, folder, sharing)
        run_again(plan, folder / "local-1")
        measure_empty_cells(folder / "empty", address)
        if os.environ.get("EDGEVIT_DATA") and chosen.images:
            evaluate(chosen.evaluate, chosen.images, sharing)
    if chosen.json:
        write_result(chosen.json, {"rows": ROWS}, chosen.models.split(","))
    if chosen.out is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
