"""``python -m robustness.kills``: signals at random moments of commands that write, and a table.

After every kill each published file is what its manifest says; after the next run nothing is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.files import digest_path
from edgevit.base.workspace import PREFIX
from edgevit.core.manifest import read_manifest_file
from programs import ROOT
from robustness.base import find_base

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
TARGETS = "savedmodel,tflite-int8,onnx-float32,onnx-int8"
LIMIT_S = 600


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
    """Every published file is what the manifest beside it says."""
    for path in out.iterdir() if out.exists() else ():
        if path.name.startswith(".") or path.name.endswith(".manifest.json"):
            continue
        document = read_manifest_file(path)
        assert document is None or document["sha256"] == digest_path(path), path
    for beside in out.glob("*.manifest.json"):
        assert (out / beside.name.removesuffix(".manifest.json")).exists(), beside


def kill_often(
    arguments: list[object], out: Path, scratch: Path, word: str, number: int, times: int, seed: int
) -> list[int]:
    """Exit codes of runs that a signal ended at random moments after a line with a word."""
    rng, span_s, codes = random.Random(seed), 5.0, []
    while len(codes) < times:
        process = start(arguments, scratch)
        wait_for(process, word)
        begun, delay = time.monotonic(), rng.uniform(0, span_s)
        while process.poll() is None and time.monotonic() - begun < delay:
            time.sleep(0.005)
        ended = process.poll() is not None
        if not ended:
            process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT_S)
        assert "Traceback" not in said
        check_whole(out)
        if ended:
            span_s = max(0.2, 0.9 * (time.monotonic() - begun))
        else:
            codes.append(process.returncode)
    return codes


def left_over(folder: Path) -> list[str]:
    """What killed processes left."""
    return [
        entry.name for entry in folder.rglob("*") if PREFIX in entry.name or "partial" in entry.name
    ]


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Attributes:
        name: in the table.
        arguments: of it; "OUT" stands for the place that it writes to.
        word: of the line after which it is killed.
    """

    name: str
    arguments: tuple[object, ...]
    word: str


def list_verbs(base: Path) -> list[Verb]:
    """The commands, on the files of a base."""
    exports, keras, weights = find_base(base)
    data = base / "data.npz"
    if not data.exists():
        import numpy as np

        images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
        labels = np.arange(40) % 10
        np.savez(data, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    folder = exports["onnx-float32"].parent
    return [
        Verb("export", ("export", weights.parent, "--format", TARGETS, "--out", "OUT"), "lowering"),
        Verb(
            "calibrate",
            ("calibrate", keras, "--data", data, "--images", 20, "--out", "OUT/ranges.json"),
            "loading",
        ),
        Verb("report", ("report", folder, "--verify", "--out", "OUT/page.html"), "reading"),
    ]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="kills of each verb by each signal")
    parser.add_argument("--base", type=Path, required=True, help="a folder of robustness.base")
    parser.add_argument("--verbs", default="export,calibrate,report")
    chosen = parser.parse_args()
    print(f"{'':12}{'signal':>10}{'kills':>8}{'partial':>9}{'wrong code':>12}{'litter after':>14}")
    for verb in list_verbs(chosen.base):
        if verb.name not in chosen.verbs.split(","):
            continue
        for number in SIGNALS:
            with tempfile.TemporaryDirectory(prefix="kills-") as place:
                out, scratch = Path(place) / "out", Path(place) / "scratch"
                out.mkdir()
                told = [str(value).replace("OUT", str(out)) for value in verb.arguments]
                codes = kill_often(told, out, scratch, verb.word, number, chosen.times, number)
                age(scratch)
                process = start(told, scratch)
                process.communicate(timeout=LIMIT_S)
                wrong = Counter(code for code in codes if code != CODES[number])
                litter = [*left_over(out), *os.listdir(scratch)]
                print(
                    f"{verb.name:12}{number.name:>10}{len(codes):>8}{0:>9}"
                    f"{dict(wrong) or 0!s:>12}{len(litter):>14}",
                    flush=True,
                )


def age(scratch: Path) -> None:
    """Makes what is left old enough to be cleared: a folder is spared in its first seconds."""
    old = time.time() - 60
    for entry in scratch.iterdir():
        os.utime(entry, (old, old))


if __name__ == "__main__":
    main()
