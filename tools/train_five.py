"""Trains the five architectures and the nano sizes one after the other, within a given time.

    python tools/train_five.py --data cifar10.tar.gz --minutes 28 --backend jax --precision bfloat16

Each network gets its share of the time, and as many epochs of its recipe as fit into that (see
`edgevit train --minutes`). The nano sizes come last and learn from the best of the others. Every
run has a folder of its own under --out; the same command goes on where it was cut off, and what is
finished is not trained again. A network that fails is named, and the next one is trained. Then
tools/ship_weights.py makes artifacts/ of a folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edgevit.models.history import RUN_FILE


@dataclass(frozen=True)
class Row:
    """A network to train.

    Attributes:
        model: as typed.
        recipe: as typed.
        share: of the time, relative to the other rows.
        taught: whether it learns from the best network of the rows before it.
    """

    model: str
    recipe: str
    share: float
    taught: bool = False


ROWS = (
    Row("shiftvit", "gpu-long", 1.0),
    Row("patchconvnet", "gpu-long", 1.0),
    Row("vit", "gpu-long", 1.5),
    Row("focalnet", "gpu-long", 2.0),
    Row("gcvit", "gpu-long", 2.5),
    Row("shiftvit:nano", "nano-long", 1.0, taught=True),
    Row("patchconvnet:nano", "nano-long", 1.0, taught=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="CIFAR-10, or a dataset like it")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="a folder for each network")
    parser.add_argument("--minutes", type=float, default=28, help="for all of them together")
    parser.add_argument("--models", help="some of them, commas between")
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--limit", type=int, help="of training images, to rehearse")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wanted = options.models.split(",") if options.models else [row.model for row in ROWS]
    unknown = sorted({*wanted} - {row.model for row in ROWS})
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}. One of {', '.join(r.model for r in ROWS)}")
    rows = [row for row in ROWS if row.model in wanted]
    whole = sum(row.share for row in rows)
    failed = []
    for row in rows:
        folder = options.out / row.model.replace(":", "-")
        started = time.perf_counter()
        code = train(row, folder, options.minutes * row.share / whole, options)
        seconds = time.perf_counter() - started
        if code:
            failed.append(row.model)
        print(f"{row.model:14} {describe(folder) if not code else 'failed'} ({seconds:.0f} s)")
        sys.stdout.flush()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; see train.log in their folders")


def train(row: Row, folder: Path, minutes: float, options: argparse.Namespace) -> int:
    """One network in a process of its own; what it says goes into train.log. Its exit code."""
    command = [sys.executable, "-m", "edgevit.cli.main", "train", row.model]
    command += ["--recipe", row.recipe, "--minutes", f"{minutes:g}", "--out", str(folder)]
    command += ["--data", options.data, "--backend", options.backend, "--seed", str(options.seed)]
    command += ["--precision", options.precision]
    if options.limit:
        command += ["--limit", str(options.limit)]
    if row.taught:
        command += ["--teacher", best_teacher(options.out)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.log").open("a") as log:
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode


def best_teacher(out: Path) -> str:
    """Folder of the finished run with the best validation; the shipped ShiftViT without one."""
    folders = [out / row.model.replace(":", "-") for row in ROWS if not row.taught]
    finished = [folder for folder in folders if (folder / RUN_FILE).is_file()]
    return str(max(finished, key=validation_of)) if finished else "shiftvit"


def validation_of(folder: Path) -> float:
    """Percent of all validation images, as the run's file says."""
    return float(json.loads((folder / RUN_FILE).read_text())["validation_top1"])


def describe(folder: Path) -> str:
    """Accuracy, epochs and speed of a finished run."""
    facts = json.loads((folder / RUN_FILE).read_text())
    with (folder / "log.csv").open() as stream:
        seconds = sorted(float(row["seconds"]) for row in csv.DictReader(stream))
    speed = facts["train_images"] / max(seconds[len(seconds) // 2], 0.1)
    epochs = facts["epochs_completed"]
    return f"{facts['validation_top1']:.2f} % after {epochs} epochs, {speed:,.0f} images/s"


if __name__ == "__main__":
    main()
