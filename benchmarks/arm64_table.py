"""Files on an emulated aarch64 machine: the verdict of `edgevit verify` there, and instructions.

    make test-arm64
    python benchmarks/arm64_table.py --json benchmarks/results/arm64.json

Each file is exported here and verified by edgevit on the emulated machine (a Cortex-A76), with
LiteRT or onnxruntime and without Keras, in Python 3.11 and 3.13. Instructions of an inference are
counted by a plug-in of the emulator (tools/count_instructions.c): on a Cortex-A53, on a Cortex-A76,
which has products of int8, and on an emulated x86-64, which has AVX2. They ignore caches and stand
beside milliseconds, never for them. Rows that the JSON file holds, of the same code, are not made
again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from provenance import ROOT, read_rows, result_path, write_result

from edgevit.core.format import Format
from edgevit.formats.registry import TARGETS
from edgevit.verbs.export import export

EMULATED = {"3.11": ROOT / "build" / "arm64", "3.13": ROOT / "build" / "arm64-3.13"}
LIMIT_S = 900
N = 2  # inferences between two marks
PROCESSORS = ("cortex-a53", "cortex-a76", "x86-64")
TARGET_NAMES = [name for name, row in TARGETS.items() if row.format is not Format.SAVEDMODEL]
_COUNT = re.compile(r"^instructions (\d+)$", re.M)
_RUN = """
import os
import sys
from pathlib import Path
from edgevit.formats.registry import load_session
from edgevit.formats.session import draw_input
with load_session(Path(sys.argv[1]), None, 1) as session:
    call = session.bind(draw_input(session, None))
    for times in (2, int(sys.argv[2])):
        for _ in range(times):
            call()
        os.getppid()  # the plug-in prints what was executed so far
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="shiftvit:nano", help="commas between")
    parser.add_argument("--targets", default=",".join(TARGET_NAMES), help="commas between")
    parser.add_argument(
        "--pythons", default=",".join(EMULATED), help="that verify, commas between; none: ''"
    )
    parser.add_argument("--json", type=result_path, help="where to write the rows")
    options = parser.parse_args()
    rows = read_rows(options.json)
    done = {(row["network"], row["target"]) for row in rows}
    for network in options.models.split(","):
        for target in options.targets.split(","):
            if (network, target) in done:
                continue
            rows.append({"network": network, "target": target})
            rows[-1] |= measure(network, target, options.pythons.split(","))
            print(rows[-1], flush=True)
            if options.json:
                write_result(options.json, {"rows": rows}, sorted({r["network"] for r in rows}))


def measure(network: str, target: str, pythons: Sequence[str]) -> dict[str, Any]:
    """Verdicts and instructions of one file."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = export(network, target, folder, keep_failed=True)
        assert outcome.artifact is not None
        path = outcome.artifact.path
        return {
            "here": outcome.verdict,
            "there": {version: verify(path, version) for version in pythons if version},
            "instructions": {name: count_one(path, name) for name in PROCESSORS},
        }


def verify(path: Path, python: str) -> str:
    """The verdict on the emulated Cortex-A76, or why there is none."""
    found = run_emulated(["python", "-m", "edgevit", "verify", str(path)], python)
    if isinstance(found, str):
        return found
    return {0: "pass", 1: "fail"}.get(found.returncode, found.stderr.strip()[-200:])


def count_one(path: Path, processor: str) -> int | str:
    """Instructions of one inference, or why there are none."""
    found = run_emulated(["count", processor, "-c", _RUN, str(path), str(N)])
    if isinstance(found, str):
        return found
    counts = [int(number) for number in _COUNT.findall(found.stderr)]
    if found.returncode or len(counts) != 2:
        return found.stderr.strip()[-200:]
    return (counts[1] - counts[0]) // N


def run_emulated(
    command: list[str], python: str = "3.11"
) -> subprocess.CompletedProcess[str] | str:
    """Runs a program of the emulated machine; a word if it takes too long."""
    words = {**os.environ, "GUEST_PATH": str(ROOT)}
    words.pop("PYTHONPATH", None)
    program = [str(EMULATED[python] / command[0]), *command[1:]]
    try:
        return subprocess.run(program, capture_output=True, text=True, timeout=LIMIT_S, env=words)
    except subprocess.TimeoutExpired:
        return f"not done in {LIMIT_S} s"


if __name__ == "__main__":
    main()
