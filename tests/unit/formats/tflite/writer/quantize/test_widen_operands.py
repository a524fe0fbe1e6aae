"""Sums that XNNPACK would refuse get operands that it takes."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.runtime.litert import count_partitions  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402
from edgevit.formats.tflite.writer.quantize.widen_operands import widen_operands  # noqa: E402

SHAPE = (1, 64, 32)


@pytest.fixture(scope="module")
def convert(convert_tflite):
    """A function (combine, also) -> a graph that combines x with its mean over the last axis."""

    def write(combine, also=lambda mean: {}) -> TfliteGraph:
        def forward(x):
            mean = tf.reduce_mean(x, -1, keepdims=True)
            return {"y": combine(x, mean), **also(mean)}

        return TfliteGraph(convert_tflite(forward, SHAPE, "x"))

    return write


def subtract(x, mean):
    return x - mean


def subtract_moved(x, mean):
    return x - tf.reshape(mean, (64, 1))


def ranges_of(graph: TfliteGraph, mean: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """Those of the means as given, all others -4 to 4."""
    found = {name: (-4.0, 4.0) for _, name in graph.activations()}
    narrow = [name for name in found if "Mean" in name or "Reshape" in name]
    assert narrow
    return found | dict.fromkeys(narrow, mean)


@pytest.mark.parametrize("combine", [subtract, subtract_moved], ids=["as it is", "moved"])
@pytest.mark.parametrize("mean", [(-1e-3, 2e-3), (0.0, 0.0)], ids=["narrow", "nothing"])
def test_a_narrow_operand_gets_a_thousandth_of_the_result(convert, combine, mean):
    graph = convert(combine)
    before = ranges_of(graph, mean)
    after = widen_operands(graph, before)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {name for name in before if before[name] == mean}
    for name in changed:
        low, high = after[name]
        assert high - low == pytest.approx(8 / 1000)
        assert high >= 2 * -low


def test_a_wide_operand_stays(convert):
    graph = convert(subtract)
    before = ranges_of(graph, (-0.1, 0.1))
    assert widen_operands(graph, before) == before


def test_an_operand_that_somebody_else_reads_stays(convert):
    graph = convert(subtract, lambda mean: {"z": tf.math.rsqrt(mean)})
    before = ranges_of(graph, (0.0, 1e-3))
    assert widen_operands(graph, before) == before


def test_xnnpack_takes_the_sum_afterwards_and_the_answer_is_as_good(convert, run_tflite, tmp_path):
    graph = convert(subtract)
    narrow = ranges_of(graph, (-1e-3, 1e-3))
    x = np.random.default_rng(0).uniform(-4, 4, SHAPE).astype(np.float32)
    left, answers = [], []
    for number, ranges in enumerate((narrow, widen_operands(graph, narrow))):
        path = tmp_path / f"{number}.tflite"
        annotated = graph.copy()
        annotate_ranges(annotated, ranges)
        written = quantize(annotated, "float32", "float32")
        path.write_bytes(written)
        left.append(count_partitions(path)["left"])
        answers.append(run_tflite(written, x))
    assert left == [1, 0]
    assert np.abs(answers[0] - answers[1]).max() <= 8 / 255 * 1.01  # one level of the result
