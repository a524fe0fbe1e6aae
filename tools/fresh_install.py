"""Installs a wheel as a new user would, and runs the README's commands in order.

    python tools/fresh_install.py WHEEL --python python3.13
    python tools/fresh_install.py WHEEL --python python3.14 --extras litert,report --files FOLDER

Makes an empty folder with a fresh virtual environment outside any checkout, installs
edgevit[EXTRAS] from the wheel, puts the example model and its photos there, and runs what the
README shows. Where TensorFlow is not installed, what needs it is left out, and FOLDER gives what it
would have written (my.keras, photos/ and exports/). Prints seconds and megabytes; exits with 1 at
the first command that fails.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from document_blocks import ROOT, read_steps

# Verbs that open a Keras model.
FLOAT = ("export", "diff")
SELF_TEST = "python kits/my-tflite-int8-python/edge_model.py --self-test"


def measure_mb(folder: Path) -> float:
    """Size of all files below a folder, in megabytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def install(folder: Path, wheel: Path, python: str, extras: str) -> Path:
    """The folder of programs of a fresh environment with the wheel and its extras."""
    home = folder / "venv"
    subprocess.run([python, "-m", "venv", home], check=True)
    before, start = measure_mb(home), time.monotonic()
    wanted = [f"edgevit[{extras}] @ {wheel.resolve().as_uri()}"]
    wanted += ["--constraint", str(ROOT / "constraints.txt")]
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([home / "bin" / "pip", "install", *quiet, *wanted], check=True)
    seconds = time.monotonic() - start
    print(f"{seconds:7.1f} s  {measure_mb(home) - before:.0f} MB: pip install 'edgevit[{extras}]'")
    return home / "bin"


def fill(folder: Path, programs: Path, files: Path | None) -> None:
    """The example model, its photos and, from FOLDER, what was exported of it."""
    if files:
        shutil.copytree(files, folder, dirs_exist_ok=True)
        return
    example = ROOT / "docs" / "notebooks" / "make_example_model.py"
    subprocess.run([programs / "python", example, folder], check=True, capture_output=True)


def run_steps(folder: Path, programs: Path, whole: bool) -> int:
    """Runs the README's steps, and the self-test of the kit that they write.

    Returns:
        how many were run.

    Raises:
        SystemExit: one failed.
    """
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment = {**clean, "PATH": f"{programs}:{os.environ['PATH']}"}
    steps = [step for step, _ in read_steps((ROOT / "README.md").read_text())]
    count = 0
    for step in [*steps, SELF_TEST]:
        words = shlex.split(step, comments=True) if step.startswith(("edgevit ", "python ")) else []
        if not whole and (not words or words[1] in FLOAT):
            print(f"      -    left out: {step.splitlines()[0]}")
            continue
        start = time.monotonic()
        command = words or [str(programs / "python"), "-c", step]
        found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        seconds, first = time.monotonic() - start, step.strip().splitlines()[0]
        print(f"{seconds:7.1f} s  exit {found.returncode}: {first}")
        if found.returncode:
            sys.exit(found.stdout + found.stderr)
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--extras", default="export")
    parser.add_argument("--files", type=Path)
    chosen = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory(prefix="edgevit-fresh-") as name:
        folder = Path(name)
        programs = install(folder, chosen.wheel, chosen.python, chosen.extras)
        subprocess.run([programs / "python", "--version"], check=True)
        fill(folder, programs, chosen.files)
        count = run_steps(folder, programs, whole=chosen.files is None)
        print(f"{count} commands, all passed")


if __name__ == "__main__":
    main()
