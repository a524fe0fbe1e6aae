"""Every committed result says what it comes from, is of what ships, and is on the results page."""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import statistics
import sys
from pathlib import Path

import pytest

from edgevit.models.shipped import ARTIFACTS, list_shipped

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
ACCURACIES = [path for path in RESULTS if path.name.startswith("accuracy_of_targets_")]


@pytest.fixture(scope="module")
def scripts():
    """A function (name) -> a module of benchmarks/, which is no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_names_weights_that_ship_its_commit_and_its_machine(scripts, path):
    scripts("provenance").check_result(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["provenance"], None, "there is no 'provenance'"),
        (["provenance", "commit"], "3cdb505", "no commit"),
        (["provenance", "machine"], None, "missing: cpu"),
        (["provenance", "machine", "cpu"], "", "machine is not named"),
        (["provenance", "machine", "versions"], {}, "machine is not named"),
        (["provenance", "weights_sha256"], {}, "no digest"),
        (["provenance", "weights_sha256", "shiftvit:nano"], "0" * 64, "ship now"),
    ],
)
def test_a_result_without_its_origin_or_of_other_weights_is_refused(scripts, keys, value, message):
    provenance = scripts("provenance")
    sound = {"provenance": provenance.provenance(["shiftvit:nano"]), "rows": []}
    provenance.check_result(sound)
    broken = copy.deepcopy(sound)
    place = broken
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ValueError, match=message):
        provenance.check_result(broken)


def test_no_result_is_written_of_code_that_is_in_no_commit(scripts, monkeypatch, tmp_path):
    provenance = scripts("provenance")
    monkeypatch.setattr(provenance, "_git", lambda *arguments: " M edgevit/base/files.py")
    with pytest.raises(argparse.ArgumentTypeError, match=r"base/files\.py"):
        provenance.result_path(str(tmp_path / "result.json"))
    monkeypatch.setattr(provenance, "_git", lambda *arguments: "")
    monkeypatch.setattr(provenance, "read_commit", lambda: "0" * 40)
    assert provenance.result_path("result.json") == Path("result.json")


def test_a_run_goes_on_with_rows_of_the_same_code_and_weights_alone(scripts, monkeypatch, tmp_path):
    provenance = scripts("provenance")
    path = tmp_path / "one.json"
    assert provenance.read_rows(None) == provenance.read_rows(path) == []
    provenance.write_result(path, {"rows": [1]}, ["shiftvit:nano"])
    assert provenance.read_rows(path) == [1]
    monkeypatch.setattr(provenance, "read_commit", lambda: "0" * 40)
    assert provenance.read_rows(path) == []


def test_a_written_result_is_accepted(scripts, tmp_path):
    provenance = scripts("provenance")
    path = tmp_path / "results" / "one.json"
    provenance.write_result(path, {"rows": [1]}, ["shiftvit:nano", "vit"])
    document = json.loads(path.read_text())
    provenance.check_result(document)
    assert document["rows"] == [1]


def test_the_results_page_is_that_of_the_results(scripts):
    page = scripts("results_page")
    assert page.PAGE.read_text() == page.render_page(ROOT / "benchmarks" / "results"), (
        "run: python benchmarks/results_page.py"
    )


def test_the_page_of_places_is_that_of_the_result(scripts):
    page = scripts("places_table")
    assert page.PAGE.read_text() == page.render_page(page.read_results()), (
        "run: python benchmarks/places_table.py --page"
    )


@pytest.mark.parametrize("path", ACCURACIES, ids=lambda path: path.stem)
def test_float_accuracies_are_those_of_the_model_cards(path):
    float_keras = json.loads(path.read_text())["keras"]
    if float_keras["model"].endswith(".keras"):
        pytest.skip("a network that does not ship has no card")
    card = ARTIFACTS / float_keras["model"].replace(":", "-") / "README.md"
    assert f"{float_keras['top1']:.2f} %" in card.read_text()


def read_figures(text: str) -> dict[tuple[str, str], str]:
    """Cells of the README's table by (row, network)."""
    part = text.split("<!-- figures:")[1].split("\n\n")[1]
    head, _, *rows = [
        [cell.strip(" `") for cell in row.split("|")[1:-1]] for row in part.split("\n")
    ]
    return {
        (row[0], network): cell
        for row in rows
        for network, cell in zip(head[1:], row[1:], strict=True)
    }


def test_the_figures_of_the_readme_are_those_of_the_results():
    documents = {json.loads(path.read_text())["keras"]["model"]: path for path in ACCURACIES}
    shown = read_figures((ROOT / "README.md").read_text())
    assert {network for _, network in shown} <= documents.keys() & list_shipped().keys()
    for (target, network), cell in shown.items():
        document = json.loads(documents[network].read_text())
        row = document["keras"] if target == "float Keras" else document[target]["accuracy"]
        figures = f"{row['top1']:.2f} %"
        if target != "float Keras":
            figures += f", {document[target]['size_bytes'] / 1e6:.2f} MB"
        assert cell == figures, (target, network)


@pytest.mark.parametrize(
    ("name", "render", "result"),
    [
        ("planted_faults", "render_table", "faults.json"),
        ("planted_faults", "render_few", "few_inputs.json"),
        ("layer_suspects", "render_table", "layer_suspects.json"),
    ],
)
def test_the_decision_about_verdicts_shows_what_was_counted(scripts, name, render, result):
    rows = json.loads((ROOT / "benchmarks" / "results" / result).read_text())["rows"]
    decision = ROOT / "docs" / "decisions" / "0017-two-halves-of-a-verdict.md"
    assert "\n".join(getattr(scripts(name), render)(rows)) in decision.read_text()


def test_the_page_on_security_shows_what_was_counted(scripts):
    page = scripts("robustness_table")
    text = page.PAGE.read_text()
    rows = json.loads(page.DEFAULT.read_text())["rows"]
    assert text == page.render_page(text, rows), "run: python benchmarks/robustness_table.py --page"


def test_the_page_on_speed_shows_the_medians_of_what_was_measured():
    rows = json.loads((ROOT / "benchmarks" / "results" / "export_cost.json").read_text())["rows"]
    shown = (ROOT / "docs" / "how-to" / "speed.md").read_text().splitlines()
    for target in ("tflite-float32", "tflite-int8", "onnx-float32"):
        (line,) = [line for line in shown if line.startswith(f"| `{target}`")]
        own = [row for row in rows if (row["part"], row["network"]) == ("export", "shiftvit")]
        found = {row["side"]: row for row in own if row["target"] == target}
        sides = [found[side] for side in ("ours", "ours, a second target", "stock")]
        seconds = [f"{statistics.median(side['wall_s']):.1f} s" for side in sides]
        memory = [f"{statistics.median(sides[i]['peak_mb']) / 1000:.2f}" for i in (0, 2)]
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        assert cells == [*seconds, f"{', '.join(memory)} GB"]


def test_the_page_on_speed_shows_the_memory_that_was_measured():
    rows = json.loads((ROOT / "benchmarks" / "results" / "export_memory.json").read_text())["rows"]
    shown = (ROOT / "docs" / "how-to" / "speed.md").read_text().splitlines()
    measured = [row for row in rows if row["part"] == "growth"]
    assert len(measured) == 10
    for row in measured:
        (line,) = [
            line
            for line in shown
            if line.startswith(f"| {row['network']}, ") and f"`{row['target']}`" in line
        ]
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[4] == f"{statistics.median(row['peak_mb']) / 1000:.2f} GB", line
