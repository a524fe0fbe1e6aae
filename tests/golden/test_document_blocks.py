"""Blocks of the documents: commands exist, Python compiles, and a page shows what is printed.

Pages that show what somebody typed are run, in their order, in a folder with the example's model
and photos. tools/document_blocks.py counts the blocks, and says why some are not run.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import edgevit
from document_blocks import BLOCK, PAGES, is_run, list_blocks, read_example, read_steps, tell_fates
from edgevit.cli.main import SETTINGS, VERBS
from programs import ROOT

FIGURE = re.compile(r"\d[\d,]*(\.\d+)?(e-?\d+)?")
RUN = [path for path in PAGES if is_run(path.read_text())]
MOST_WORDS = 600
TERMINAL = ("COLUMNS", "FORCE_COLOR")  # of a test's own terminal


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def list_commands(text: str) -> Iterator[list[str]]:
    """Arguments of every ``edgevit`` command in blocks of commands."""
    for language, block in list_blocks(text, "", "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.partition(" #")[0].removeprefix("$ ").strip()
            if line.startswith("edgevit ") and (language != "console" or "$ " in block):
                first = re.split(r" [;|>&]+ ?|; ", line)[0]
                yield shlex.split(first)[1:]


def find_mistake(arguments: list[str]) -> str:
    """Why a command line does not exist; empty if it does."""
    verbs = {verb.name: verb for verb in VERBS}
    name, *others = arguments
    if name.startswith("-"):
        return ""
    if name not in verbs:
        return f"no verb {name}"
    verb = verbs[name]
    words = [word for word in others if word != "..." and word not in ("-q", "-v")]
    try:
        verb.make_parser(click.Context(verb, **SETTINGS)).parse_args(words)
    except click.UsageError as error:
        return error.format_message()
    return ""


def find_unknown_names(code: str) -> set[str]:
    """Attributes of edgevit that a block of Python uses and that are not public."""
    uses = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute))
    names = {
        use.attr for use in uses if isinstance(use.value, ast.Name) and use.value.id == "edgevit"
    }
    return {name for name in names if name not in edgevit.__all__ and not _is_room(name)}


def _is_room(name: str) -> bool:
    return (ROOT / "edgevit" / name / "__init__.py").exists()


def without_figures(text: str) -> list[str]:
    """Words of each line; figures, rules and the classes behind the first depend on rounding."""
    lines = []
    for line in text.splitlines():
        line = line.partition(",")[0] if line.startswith("photos/") else line
        lines.append(" ".join(FIGURE.sub("#", line).replace("─", " ").split()))
    return [line for line in lines if line]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_command_of_a_document_exists(path: Path):
    found = {" ".join(words): find_mistake(words) for words in list_commands(path.read_text())}
    assert {command: mistake for command, mistake in found.items() if mistake} == {}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_python_in_a_document_compiles_and_uses_public_names(path: Path):
    for _, code in list_blocks(path.read_text(), "python"):
        assert find_unknown_names(code) == set()


def test_a_command_or_a_name_that_does_not_exist_is_found():
    assert find_mistake(["exprot", "x"]) == "no verb exprot"
    assert "--fromat" in find_mistake(["export", "x", "--fromat", "y"])
    assert find_unknown_names("edgevit.pipeline.Budget(1)") == {"pipeline"}
    assert list(list_commands("```\nedgevit export x --out y   # why\n```\n")) == [
        ["export", "x", "--out", "y"]
    ]


def test_figures_are_left_out_and_words_are_not():
    assert without_figures(" a  ──\n b 3.6e-07   pass \nphotos/x.png: ring 9 %, bar 1 %") == [
        "a",
        "b # pass",
        "photos/x.png: ring # %",
    ]
    assert without_figures("b 3 lossy") != without_figures("b 3 pass")


def test_the_readme_is_a_minutes_reading():
    text = re.sub(r"<!--.*?-->", "", (ROOT / "README.md").read_text())
    prose = BLOCK.sub("", text)
    words = len(prose.split())
    assert words <= MOST_WORDS
    compared = (ROOT / "docs" / "other-projects.md").read_text()
    assert f"| words of the README, without code | {words} |" in compared
    assert {"make demo", "make test"} <= set(re.findall(r"`(make \w+)`", prose))


def test_every_block_that_is_not_run_has_a_reason():
    fates = [fate for path in PAGES for fate in tell_fates(path.read_text())]
    assert fates.count("run") >= 30
    assert read_example("1. It:\n\n    ```python\n    # a/b.py\n    x = 1\n    ```\n") == {
        "a/b.py": "# a/b.py\nx = 1\n"
    }
    assert tell_fates("```console\n$ edgevit doctor\n```\n```yaml\na: 1\n```\n") == [
        "run",
        "shown: needs a service of continuous integration",
    ]


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """A folder with the model and the photos that the pages speak of."""
    folder = tmp_path_factory.mktemp("example")
    make = ROOT / "docs" / "notebooks" / "make_example_model.py"
    subprocess.run([sys.executable, make, folder], check=True, capture_output=True)
    return folder


def to_command(step: str) -> list[str]:
    """What runs a step: this edgevit, another program, or Python for a block of code."""
    program, *arguments = shlex.split(step, comments=True) if "\n" not in step else [""]
    if program == "edgevit":
        return [sys.executable, "-m", "edgevit", *arguments]
    return [program, *arguments] if program == "openssl" else [sys.executable, "-c", step]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_a_page_prints_what_it_shows(example: Path, tmp_path: Path, path: Path):
    shutil.copytree(example, tmp_path, dirs_exist_ok=True)
    piped = {key: value for key, value in os.environ.items() if key not in TERMINAL}
    for step, shown in read_steps(path.read_text()):
        run = subprocess.run(
            to_command(step), cwd=tmp_path, capture_output=True, text=True, env=piped
        )
        expected_code = 1 if step.endswith("# exit code 1") else 0
        assert run.returncode == expected_code, f"{step}\n{run.stdout}\n{run.stderr}"
        if shown:  # the page may show the first lines alone
            printed, expected = without_figures(run.stdout), without_figures(shown)
            assert printed[: len(expected)] == expected, step
