"""The search for precisions: what it tries, in which order, and what it repairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.core.signature import OutputSpec, Role
from edgevit.core.target import Precision
from edgevit.quantization.kernel_costs import KernelCosts, Line, OpSize
from edgevit.quantization.planner import FloatGraph, PlannedOp
from edgevit.quantization.precisions import precisions_of
from edgevit.quantization.search import Precisions, Sample, Search, SearchReport
from edgevit.tasks.figures import Figure
from edgevit.tasks.scores import score_classes, score_values

INT8, FLOAT32 = Precision.INT8, Precision.FLOAT32
BOTH = frozenset((FLOAT32, INT8))
COUNT, CLASSES = 200, 4
LABELS = np.arange(COUNT) % CLASSES
# A chain, in which int8 is always the quicker.
KINDS = ("CONV_2D", "GELU", "ADD", "FULLY_CONNECTED", "ADD", "MUL", "FULLY_CONNECTED")
OPS = tuple(
    PlannedOp(
        kind,
        f"net/block{number}",
        (number,),
        (number + 1,),
        OpSize(100),
        BOTH,
        weighted=kind in ("CONV_2D", "FULLY_CONNECTED"),
        delicate=kind in ("ADD", "MUL"),
    )
    for number, kind in enumerate(KINDS)
)
GRAPH = FloatGraph(OPS, (0,), (len(OPS),), dict.fromkeys(range(len(OPS) + 1), 100))
COSTS = KernelCosts(
    "drawn",
    {kind: {FLOAT32: Line(1000, 0, 0), INT8: Line(100, 0, 0)} for kind in KINDS}
    | {kind: {INT8: Line(1, 0, 0)} for kind in ("QUANTIZE", "DEQUANTIZE")},
)


class Files:
    """Files whose errors and times follow from their precisions.

    Args:
        losses: images lost by an operator in int8, by its place.
    """

    def __init__(self, losses: dict[int, int]):
        self.losses = losses
        self.written: list[Precisions] = []

    def write(self, precisions: Precisions) -> Path:
        assert precisions not in self.written  # each is written once
        self.written.append(precisions)
        return Path(str(len(self.written) - 1))

    def run(self, path: Path, inputs: np.ndarray, progress) -> dict[str, np.ndarray]:
        precisions = self.written[int(path.name)]
        lost = sum(loss for place, loss in self.losses.items() if precisions[place] is INT8)
        logits = np.eye(CLASSES, dtype=np.float32)[LABELS[: len(inputs)]]
        logits[: min(lost, len(inputs))] *= -1
        return {"logits": logits}

    def time(self, paths: Sequence[Path]) -> list[float]:
        return [10.0 - self.written[int(path.name)].count(INT8) for path in paths]


LOGITS = OutputSpec("logits", (None, CLASSES), "float32", Role.LOGITS)


def count_right(found, expected) -> Figure:
    return score_classes(found["logits"], LABELS, LOGITS).figure


SAMPLE = Sample(np.zeros((COUNT, 1, 1, 3), np.uint8), "drawn", count_right, (LOGITS,))


def search(losses: dict[int, int], max_drop: float) -> SearchReport:
    return Search(GRAPH, COSTS, Files(losses), SAMPLE, max_drop).run("net")


def test_the_quickest_start_that_keeps_the_budget_is_taken_as_it_is():
    report = search({}, 0.0)
    assert precisions_of(GRAPH, report.recipe) == (INT8,) * len(OPS)
    assert report.trials[report.chosen].operators == {
        "int8": len(OPS),
        "dynamic": 0,
        "float32": 0,
    }
    assert report.drop.points == 0
    assert (report.figure, report.float_figure) == ("top-1 accuracy", 100.0)
    # float32 for comparison and the one that was good enough; other starts were timed alone
    assert report.evaluations == 2
    assert [trial.drop is None for trial in report.trials].count(False) == 1


def test_a_start_that_loses_too_much_is_repaired_by_the_groups_that_cost_most():
    report = search({2: 30, 4: 8, 1: 1}, 0.5)
    assert report.trials[report.chosen].name.endswith(", repaired")
    found = precisions_of(GRAPH, report.recipe)
    assert [n for n, p in enumerate(found) if p is not INT8] == [2, 4]
    assert report.drop.points == 0.5
    assert "Found by --max-drop 0.5 on 200 validation samples of drawn:" in report.recipe.notes


def test_the_loss_is_counted_against_the_float_file_on_the_sample():
    report = search({2: 30}, 20.0)
    assert report.drop.points == 15.0
    assert (report.drop.counted.lost, report.drop.counted.won) == (30, 0)


def test_a_budget_that_nothing_keeps_is_refused_with_the_best_that_there_is():
    class Lossy(Files):
        def run(self, path, inputs, progress):
            found = super().run(path, inputs, progress)
            if self.written[int(path.name)] != (FLOAT32,) * len(OPS):
                found["logits"][:10] *= -1
            return found

    kernels = BOTH | {Precision.DYNAMIC}
    ops = tuple(replace(op, precisions=kernels) for op in OPS)
    graph = replace(GRAPH, ops=ops)
    lines = {kind: dict(row) for kind, row in COSTS.lines.items()}
    for kind in ("CONV_2D", "FULLY_CONNECTED"):
        lines[kind][Precision.DYNAMIC] = Line(500, 0, 0)
    costs = KernelCosts("drawn", lines)
    with pytest.raises(ConfigError, match=r"no precisions keep within 1 points: .* loses 5\.00"):
        Search(graph, costs, Lossy({}), SAMPLE, 1.0).run("net")


def test_a_budget_of_r2_takes_back_the_column_that_suffers_whatever_its_unit():
    """Two quantities, of thousands and of thousandths: int8 spoils the small one."""
    truth = np.random.default_rng(0).normal(size=(COUNT, 2)) * (1e3, 1e-3)
    values = OutputSpec("values", (None, 2), "float32", Role.VALUES)

    class Quantities(Files):
        def run(self, path, inputs, progress):
            precisions, found = self.written[int(path.name)], truth[: len(inputs)].copy()
            if precisions[5] is INT8:
                found[:, 1] *= 0.5  # R2 of the column: 0.75
            if precisions[4] is INT8:
                found[:, 0] += 10
            return {"values": found}

    def figure(found, expected):
        return score_values(found["values"], truth, ("mass", "length")).figure

    sample = Sample(SAMPLE.inputs, "drawn", figure, (values,))
    report = Search(GRAPH, COSTS, Quantities({}), sample, 1.0).run("net")
    assert [n for n, p in enumerate(precisions_of(GRAPH, report.recipe)) if p is not INT8] == [5]
    assert (report.figure, report.drop.counted) == ("R2", None)
    assert 0 < report.drop.points < 0.02
    low, high = report.drop.interval().low, report.drop.interval().high
    assert low <= report.drop.points <= high
    assert report.recipe.notes[1].startswith("R2, 0.0")
