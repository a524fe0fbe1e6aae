"""The README's own model: its commands print what the README shows, but for the figures."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURE = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


def read_example() -> list[tuple[str, str]]:
    """(command, what it prints) of the README's console block."""
    block = (ROOT / "README.md").read_text().split("```console\n")[1].split("```")[0]
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    pairs = (part.partition("\n") for part in parts)
    return [(command, printed.strip()) for command, _, printed in pairs]


def without_figures(text: str) -> list[str]:
    """Words of each line; figures, rules and the classes behind the first depend on rounding."""
    lines = []
    for line in text.splitlines():
        line = line.partition(",")[0] if line.startswith("photos/") else line
        lines.append(" ".join(FIGURE.sub("#", line).replace("─", " ").split()))
    return [line for line in lines if line]


def test_figures_are_left_out_and_words_are_not():
    assert without_figures(" a  ──\n b 3.6e-07   pass \nphotos/x.png: ring 9 %, bar 1 %") == [
        "a",
        "b # pass",
        "photos/x.png: ring # %",
    ]
    assert without_figures("b 3 lossy") != without_figures("b 3 pass")


def test_the_readme_shows_an_export_a_verification_and_a_prediction():
    verbs = [shlex.split(command)[:2] for command, _ in read_example()]
    assert verbs == [["edgevit", "export"], ["edgevit", "verify"], ["edgevit", "predict"]]


@pytest.mark.long
def test_the_commands_of_the_readme_print_what_it_shows(tmp_path: Path):
    make = ROOT / "tools" / "make_example_model.py"
    subprocess.run([sys.executable, make, tmp_path], check=True, capture_output=True)
    for command, shown in read_example():
        arguments = [sys.executable, "-m", "edgevit", *shlex.split(command)[1:]]
        run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert without_figures(run.stdout) == without_figures(shown), command
