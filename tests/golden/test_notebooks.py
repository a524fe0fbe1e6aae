"""The notebooks of the documents run from the first cell to the last, and show tables."""

from __future__ import annotations

import json
import re

import pytest

from document_blocks import NOTEBOOKS

MACHINE = re.compile(r"/(home|root|tmp|work)/")


def is_bar(output: dict) -> bool:
    """Whether an output is a bar of long work, which is empty when that is done."""
    return output.get("data") == {"text/plain": "", "text/html": ""}


def read_cells(path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_its_results_and_nothing_of_the_machine_that_ran_it(path):
    shown = json.dumps([cell.get("outputs", []) for cell in read_cells(path)])
    assert "<table>" in shown
    assert not MACHINE.search(shown)
    assert all(cell.get("metadata") == {} for cell in read_cells(path))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_of_a_notebook_runs(path):
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason="make test-notebooks installs it")
    from run_notebooks import run

    before = [cell for cell in read_cells(path) if cell["cell_type"] == "code"]
    after = [cell for cell in run(path).cells if cell.cell_type == "code"]
    bars = [output for cell in after for output in cell.outputs if is_bar(output)]
    assert bars, "no verb showed how far it was"
    for old, new in zip(before, after, strict=True):
        wanted = {kind for output in old["outputs"] for kind in output.get("data", {})}
        assert wanted <= {kind for output in new.outputs for kind in output.get("data", {})}
