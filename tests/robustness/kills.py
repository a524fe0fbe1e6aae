"""``python -m robustness.kills``: signals at random moments of commands that write, and a table.

One process imports the frameworks and forks each victim, so that a moment lies between the first
and the last step of its work and not in imports. After every kill each published file is whole;
after the next run nothing is left, and no process of the victim lives on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.files import digest_path
from edgevit.base.workspace import PREFIX
from edgevit.core.manifest import read_manifest_file
from programs import ROOT
from robustness.base import find_base
from robustness.jury import Ruling, run_forked
from robustness.server import LIGHT

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
TARGETS = "savedmodel,tflite-int8,onnx-float32,onnx-int8"
LIMIT_S = 600
GRACE_S = 10.0  # in which processes of a victim end
RESUMED = 5  # trainings that go on after a kill and are held against a whole one


def start(arguments: list[object], scratch: Path) -> subprocess.Popen[str]:
    """Starts ``edgevit ARGUMENTS`` with its own folder for temporary files."""
    scratch.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "edgevit.cli.main", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
    )


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Reads until a line holds the word, or the process ends."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return


def check_whole(out: Path) -> None:
    """Every published file is what the manifest beside it says.

    Raises:
        AssertionError: one is not.
    """
    for path in out.iterdir() if out.exists() else ():
        if path.name.startswith(".") or path.name.endswith(".manifest.json"):
            continue
        document = read_manifest_file(path)
        assert document is None or document["sha256"] == digest_path(path), path
    for beside in out.glob("*.manifest.json"):
        assert (out / beside.name.removesuffix(".manifest.json")).exists(), beside


def check_page(out: Path) -> None:
    """A page, where there is one, is written to its end."""
    for page in out.glob("*.html"):
        assert page.read_text().rstrip().endswith("</html>"), page


def check_ranges(out: Path) -> None:
    """Ranges, where there are any, are JSON."""
    for path in out.glob("*.json"):
        json.loads(path.read_bytes())


def check_kit(out: Path) -> None:
    """A kit, where there is one, holds all of its files."""
    kit = out / "kit"
    if kit.exists():
        golden = json.loads((kit / "golden.json").read_bytes())
        assert golden, kit
        assert {"README.md", "kit.json"} <= set(os.listdir(kit)), kit


def check_run(out: Path) -> None:
    """What a training has written can be read."""
    for checkpoint in out.glob("*/checkpoint.npz"):
        with np.load(checkpoint) as found:
            assert all(found[name] is not None for name in found.files), checkpoint
    for recipe in out.glob("*/recipe.json"):
        json.loads(recipe.read_bytes())


def check_sweep(out: Path) -> None:
    """Every cell that is there has its document and a whole file."""
    for cell in out.glob("*/cells/*/[!.]*"):
        document = json.loads((cell / "cell.json").read_bytes())
        assert not document["file"] or (cell / document["file"]).exists(), cell
    for beside in out.glob("*/cells/*/[!.]*/*.manifest.json"):
        file = beside.with_name(beside.name.removesuffix(".manifest.json"))
        assert json.loads(beside.read_bytes())["sha256"] == digest_path(file), file


def left_over(folder: Path) -> list[str]:
    """What killed processes left."""
    return [
        entry.name for entry in folder.rglob("*") if PREFIX in entry.name or "partial" in entry.name
    ]


def age(scratch: Path) -> None:
    """Makes what is left old enough to be cleared: a folder is spared in its first seconds."""
    old = time.time() - 60
    for entry in scratch.iterdir():
        os.utime(entry, (old, old))


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Attributes:
        name: in the table.
        arguments: of it; "OUT" stands for the place that it writes to, "N" for the kill's number.
        check: of that place: raises where something that is published is not whole.
        share: of the kills by one signal, of a hundred.
    """

    name: str
    arguments: tuple[object, ...]
    check: Callable[[Path], None]
    share: int

    @property
    def is_numbered(self) -> bool:
        """Whether each run has a place of its own, which the next run of it clears."""
        return "OUT/N" in self.arguments


def list_verbs(base: Path) -> list[Verb]:
    """The commands, on the files of a base, the quickest first."""
    exports, keras, _ = find_base(base)
    data, plan = base / "data.npz", base / "plan.toml"
    if not data.exists():
        images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
        labels = np.arange(40) % 10
        np.savez(data, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    plan.write_text(f'targets = ["onnx-float32"]\n[[model]]\nsource = "{keras}"\n')
    few = base / "few"
    if not few.exists():
        few.mkdir()
        for name in ("onnx-float32", "tflite-int8"):
            shutil.copy(exports[name], few)
    given = ("--calibration", data)
    tiny = ("image_size=16", "dim=48", "depths=1,1")
    sizes = [text for size in tiny for text in ("--set", size)]
    return [
        Verb("report", ("report", few, "--verify", "--out", "OUT/page.html"), check_page, 20),
        Verb(
            "deploy",
            ("deploy", exports["onnx-float32"], "--to", "python", "--out", "OUT/kit", "--force"),
            check_kit,
            20,
        ),
        Verb(
            "calibrate",
            ("calibrate", keras, "--data", data, "--images", 20, "--out", "OUT/ranges.json"),
            check_ranges,
            20,
        ),
        Verb(
            "train",
            (
                *("train", "shiftvit", "--data", data, "--epochs", 4, "--batch-size", 8, *sizes),
                *("--image-size", 12, "--backend", "tensorflow", "--out", "OUT/N"),
            ),
            check_run,
            15,
        ),
        Verb(
            "export",
            ("export", keras, "--format", TARGETS, *given, "--out", "OUT"),
            check_whole,
            15,
        ),
        Verb("sweep", ("sweep", plan, "--jobs", 1, "--out", "OUT/N"), check_sweep, 10),
    ]


class Victims:
    """Runs one command in forked processes, with places of its own.

    Attributes:
        out: that it writes to.
    """

    def __init__(self, verb: Verb, place: Path):
        self._verb, self._place, self.out = verb, place, place / "out"
        self.out.mkdir(parents=True)

    def run(self, number: object, strike: tuple[float, int] | None = None) -> Ruling:
        """Runs it once; a strike is of :func:`robustness.jury.run_forked`."""
        told = [str(value) for value in self._verb.arguments]
        told = [str(self.out / text[4:]) if text.startswith("OUT/") else text for text in told]
        told = [str(self.out) if text == "OUT" else text for text in told]
        told = [
            text.removesuffix("/N") + f"/{number}" if text.endswith("/N") else text for text in told
        ]
        return run_forked(told, self._place, limit_s=LIMIT_S, strike=strike)

    def find_orphans(self) -> list[int]:
        """Processes that outlive the one that started them."""
        mark, ends = f"{self._place}/.scratch".encode(), time.monotonic() + GRACE_S
        while time.monotonic() < ends and list_processes(mark):
            time.sleep(0.1)
        return list_processes(mark)

    def kill(self, number: signal.Signals, times: int, seed: int) -> dict[str, Any]:
        """Kills it so often by one signal; what became of that.

        Runs that end before their signal do not count, and make the next moments earlier.
        """
        rng, run = random.Random(100 * seed + number), 0
        span_s = self.run("first").seconds
        killed: list[int] = []
        found: dict[str, Any] = {"codes": Counter(), "partial": 0, "orphans": 0, "faults": 0}
        while sum(found["codes"].values()) < times:
            run += 1
            ruling = self.run(run, (rng.uniform(0, span_s), number))
            try:
                self._verb.check(self.out)
            except (AssertionError, OSError, ValueError, KeyError) as error:
                print(f"partial: {error!r}", file=sys.stderr)
                found["partial"] += 1
            if ruling.code in (0, 1):  # ended by itself
                span_s = max(0.2, 0.9 * ruling.seconds)
                continue
            killed.append(run)
            found["orphans"] += len(self.find_orphans())
            found["codes"][ruling.code] += 1
            found["faults"] += bool({"traceback", "internal error"} & set(ruling.faults))
        age(self._place / ".scratch" / "tmp")
        for each in killed if self._verb.is_numbered else killed[-1:]:
            last = self.run(each)
        found["litter"] = len(left_over(self.out)) + len(last.litter)
        found["next"] = last.code
        return found


def list_processes(mark: bytes) -> list[int]:
    """Processes that were started with some text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def resume(verb: Verb, place: Path, times: int) -> int:
    """How many trainings that were killed went on to the weights of a whole one."""
    victims = Victims(verb, place)
    whole = victims.run("whole")
    wanted, same, rng = _read_weights(victims.out / "whole"), 0, random.Random(0)
    for number in range(times):
        victims.run(number, (rng.uniform(0.2, 0.9) * whole.seconds, signal.SIGKILL))
        victims.run(number)
        same += _read_weights(victims.out / str(number)) == wanted
    return same


def _read_weights(run: Path) -> bytes:
    return (run / "weights.safetensors").read_bytes()


def warm_up() -> None:
    """Imports what the commands need; hears SIGINT, which a shell's background jobs do not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for module in (*LIGHT, "keras", "tensorflow"):
        importlib.import_module(module)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="kills by each signal, in all verbs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--base", type=Path, required=True, help="a folder of robustness.base")
    parser.add_argument("--verbs", default="report,deploy,calibrate,train,export,sweep")
    parser.add_argument("--log", type=Path, help="a file that gets a line for each row")
    chosen = parser.parse_args()
    verbs = [verb for verb in list_verbs(chosen.base) if verb.name in chosen.verbs.split(",")]
    warm_up()
    bad = 0
    for verb in verbs:
        for number in SIGNALS:
            place = chosen.base / "kills" / f"{verb.name}-{number.name}"
            shutil.rmtree(place, ignore_errors=True)
            times = max(1, round(verb.share * chosen.times / 100))
            found = Victims(verb, place).kill(number, times, chosen.seed)
            bad += tell({"verb": verb.name, "signal": number.name, **found}, number, chosen.log)
            shutil.rmtree(place, ignore_errors=True)
        if verb.name == "train":
            same = resume(verb, chosen.base / "kills" / "resumed", RESUMED)
            shutil.rmtree(chosen.base / "kills" / "resumed")
            bad += same != RESUMED
            tell({"verb": "train", "resumed": same, "of": RESUMED}, None, chosen.log)
    sys.exit(bool(bad))


def tell(row: dict[str, Any], number: signal.Signals | None, log: Path | None) -> bool:
    """Prints a row; whether something of it must not be."""
    line = json.dumps(row)
    print(line, flush=True)
    if log is not None:
        with log.open("a") as stream:
            stream.write(line + "\n")
    wrong = number is not None and set(row["codes"]) != {CODES[number]}
    return wrong or any(row.get(key) for key in ("partial", "orphans", "faults", "litter"))


if __name__ == "__main__":
    main()
