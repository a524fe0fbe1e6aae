"""Time and peak memory of the command line, each command in a process of its own.

``edgevit --help``: median of several starts, and whether a framework was imported.
``edgevit export shiftvit --format ...``: from shell to verdict.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EDGEVIT = str(Path(sys.executable).with_name("edgevit"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", default="tflite-int8", help="commas between; each runs alone")
    parser.add_argument("--starts", type=int, default=11, help="starts of --help")
    options = parser.parse_args()
    seconds = [run([EDGEVIT, "--help"])[0] for _ in range(options.starts)]
    print(f"edgevit --help: median {statistics.median(seconds):.3f} s of {len(seconds)} starts")
    probe = (
        "import sys, edgevit.cli.main; print({'keras', 'tensorflow'} & {*sys.modules} or 'none')"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    print(f"frameworks imported by it: {loaded.stdout.strip()}")
    for name in options.formats.split(","):
        with tempfile.TemporaryDirectory() as folder:
            command = [EDGEVIT, "export", "shiftvit", "--format", name, "--out", folder, "--json"]
            taken, memory, output = run(command)
        (row,) = json.loads(output)
        print(f"export {name}: {taken:.1f} s, {memory:.0f} MiB peak, verdict {row['verdict']}")


def run(command: list[str]) -> tuple[float, float, str]:
    """(seconds, peak MiB of the process, stdout)."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {output}")
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    return taken, usage.ru_maxrss / unit, output


if __name__ == "__main__":
    main()
