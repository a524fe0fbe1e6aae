"""What --against names: each planted regression, and nothing of a sweep against itself."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from edgevit.base.errors import ModelFileError
from edgevit.core.cells import (
    Budgets,
    CellResult,
    Change,
    JudgedCell,
    Quality,
    State,
    SweepReport,
    judge_cell,
    pack_rights,
)
from edgevit.core.measurements import Environment
from edgevit.reports.sweep_page import render_sweep
from edgevit.reports.sweep_tables import render_csv, render_lines
from edgevit.sweeps.changes import find_changes
from edgevit.sweeps.store import INDEX, read_sweep

MACHINE = Environment("cpu", (), 2, None, "Linux", "x86_64", None, "host", "", {})
RIGHTS = np.arange(1000) % 10 > 0  # 90 %


def quality(rights: np.ndarray, packed: bool = True) -> Quality:
    share = float(rights.mean())
    text = pack_rights(rights.astype(float)) if packed else ""
    ends = share - 0.02, share + 0.02
    lost = 100 * (0.9 - share)
    return Quality("top-1", share, *ends, len(rights), "set", 0.9, lost, lost - 1, lost + 1, text)


RESULT = CellResult(
    **{"model": "net", "target": "tflite-int8", "key": "k", "outcome": State.PASS},
    **{"file": "net.tflite", "size_bytes": 1_000_000, "sha256": "aa", "agreement": 0.99},
    quality=quality(RIGHTS),
    operators={"CONV_2D": 3, "ADD": 1},
    latency_ms=(1.0, 1.01, 0.99, 1.0, 1.02),
    environment=MACHINE,
)


def judged(**changed: object) -> JudgedCell:
    return judge_cell(replace(RESULT, **changed), Budgets(max_drop=2.0))


def changes(now: JudgedCell) -> list[Change]:
    return list(find_changes({("net", "tflite-int8"): judged()}, [now]))


@pytest.mark.parametrize("names", [["..", "x"], ["a/b", "x"], ["/", "x"], [1, "x"], ["x"], "xy"])
def test_an_index_that_names_another_folder_is_damaged(tmp_path, names):
    (tmp_path / INDEX).write_text(json.dumps({"cells": [names]}))
    with pytest.raises(ModelFileError, match="the index is damaged"):
        read_sweep(tmp_path)


def test_a_sweep_against_itself_is_silent():
    assert changes(judged()) == []


def lose(count: int, gained: int = 0) -> np.ndarray:
    found = RIGHTS.copy()
    found[np.flatnonzero(RIGHTS)[:count]] = False
    found[np.flatnonzero(~RIGHTS)[:gained]] = True
    return found


@pytest.mark.parametrize(
    ("changed", "kind", "said", "worse"),
    [
        ({"size_bytes": 1_050_000}, "bytes", "1,000,000 bytes became 1,050,000 (+5.00 %)", True),
        ({"size_bytes": 900_000}, "bytes", "(-10.00 %)", False),
        ({"quality": quality(lose(10))}, "accuracy", "loses 1.00 points", True),
        ({"quality": quality(lose(10), False)}, "accuracy", "samples not paired", False),
        ({"quality": quality(lose(20, 19))}, "accuracy", "loses 0.10 points", False),
        ({"quality": quality(lose(0, 20))}, "accuracy", "gains 2.00 points", False),
        ({"operators": {"CONV_2D": 3, "GELU": 2}}, "operators", "GELU +2, ADD -1", False),
        ({"latency_ms": (1.2, 1.21, 1.19, 1.2, 1.2)}, "latency", "1.20 times", True),
        ({"latency_ms": (0.8, 0.81, 0.79, 0.8, 0.8)}, "latency", "0.80 times", False),
        ({"outcome": State.FAIL, "reason": "broken"}, "verdict", "pass became fail (broken)", True),
    ],
)
def test_a_planted_change_is_named(changed, kind, said, worse):
    (found,) = changes(judged(sha256="bb", **changed))
    assert (found.kind, found.worse) == (kind, worse)
    assert said in found.text


def test_a_drop_beyond_its_budget_is_a_verdict_and_a_loss_of_accuracy():
    found = changes(judged(sha256="bb", quality=quality(lose(30))))
    assert [(change.kind, change.worse) for change in found] == [
        ("verdict", True),
        ("accuracy", True),
    ]
    assert "pass became over budget (loses 3.00 points of top-1" in found[0].text


def test_latency_of_another_machine_says_nothing():
    other = replace(MACHINE, host="other")
    assert changes(judged(environment=other, latency_ms=(9.0,) * 5)) == []


def test_cells_that_come_and_go_are_named():
    now = judged(model="new")
    texts = [change.text for change in changes(now)]
    assert texts == ["is new: pass", "is not in the plan any more"]


@pytest.mark.parametrize(
    ("budgets", "state", "said"),
    [
        (Budgets(), State.PASS, ()),
        (Budgets(max_size=999_999), State.OVER, ("1.00 MB, where max_size allows 1.00 MB",)),
        (
            Budgets(min_agreement=0.995),
            State.OVER,
            ("agreement 99.00 %, where min_agreement asks for 99.50 %",),
        ),
        (Budgets(max_drop=0.5), State.PASS, ()),
    ],
)
def test_budgets_are_held_against_what_was_measured(budgets, state, said):
    cell = judge_cell(RESULT, budgets)
    assert (cell.state, cell.reasons, cell.accepted) == (state, said, state is State.PASS)


def test_what_was_not_measured_keeps_no_budget():
    bare = replace(RESULT, quality=None, agreement=float("nan"))
    cell = judge_cell(bare, Budgets(max_drop=1.0, min_agreement=0.5))
    assert cell.state is State.OVER
    assert len(cell.reasons) == 2


@pytest.mark.parametrize("accepted", [True, False])
def test_an_outcome_is_accepted_where_the_plan_says_so(accepted):
    lossy = replace(RESULT, outcome=State.LOSSY)
    cell = judge_cell(lossy, Budgets(accept=(State.LOSSY,) if accepted else ()))
    assert cell.accepted is accepted
    assert SweepReport("t", ("net",), ("tflite-int8",), (cell,)).right is accepted


def test_rights_are_packed_and_unpacked():
    assert list(quality(RIGHTS).unpack()) == list(RIGHTS)
    assert pack_rights(np.array([0.5, 1.0])) == ""


def test_page_and_tables_show_every_cell_and_load_nothing():
    cells = (judged(), judged(target="onnx-int8", outcome=State.CRASHED, reason="died <b>"))
    found = Change("net", "tflite-int8", "bytes", "grew", True)
    report = SweepReport(
        "my <plan>", ("net",), ("tflite-int8", "onnx-int8"), cells, 2, 1.0, (found,), "old"
    )
    page = render_sweep(report)
    assert "died &lt;b&gt;" in page
    assert "90.00 (+0.00)" in page
    assert "cells/net/tflite-int8/net.tflite" in page
    for outside in ("http://", "https://", "<script"):
        assert outside not in page
    rows = [json.loads(line) for line in render_lines(report).splitlines()]
    assert [row["state"] for row in rows] == ["pass", "crashed"]
    table = list(csv.DictReader(io.StringIO(render_csv(report))))
    assert [row["size_bytes"] for row in table] == ["1000000", "1000000"]
    assert not report.right
