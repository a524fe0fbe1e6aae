"""Means of squares keep what is small beside one large square."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.runtime.litert import count_partitions  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402
from edgevit.formats.tflite.writer.quantize.refine_squares import refine_squares  # noqa: E402

POSITIONS, CHANNELS = 64, 128
SHAPE = (1, POSITIONS, CHANNELS)
LARGEST = 2.8  # of x; its square is 250 times the smallest variance


def variances(x):
    """B positions channels -> B positions 1."""
    return tf.reduce_mean(x * x, -1, keepdims=True)


@pytest.fixture(scope="module")
def graph(convert_tflite) -> bytes:
    return convert_tflite(variances, SHAPE, "x")


def draw() -> np.ndarray:
    """Positions whose deviations rise from 0.05 to 0.4; the last one has one large value."""
    rng = np.random.default_rng(0)
    deviations = np.linspace(0.05, 0.4, POSITIONS)
    x = rng.standard_normal((1, POSITIONS, CHANNELS)) * deviations[None, :, None]
    x[0, -1, 0] = LARGEST
    return x.astype(np.float32)


def refine(graph: bytes, ranges: dict[str, tuple[float, float]]):
    """(the graph about to be quantised, its ranges, steps taken)."""
    opened = TfliteGraph(graph)
    return opened, *refine_squares(opened, ranges)


def to_int8(graph: TfliteGraph, ranges: dict[str, tuple[float, float]]) -> bytes:
    annotate_ranges(graph, ranges)
    return quantize(graph, "float32", "float32")


def ranges_of(graph: bytes, x: np.ndarray) -> dict[str, tuple[float, float]]:
    """Those of the activations of a graph of :func:`variances`."""
    opened = TfliteGraph(graph)
    squares, makers = x * x, opened.makers()
    values = {"": x, "MUL": squares, "SQRT": np.abs(x), "MEAN": squares.mean(-1)}
    found = {}
    for tensor, name in opened.activations():
        maker = makers.get(tensor)
        seen = values[opened.kind(maker) if maker else ""]
        found[name] = (float(seen.min()), float(seen.max()))
    return found


def test_small_variances_survive_a_large_square(graph, run_tflite, tmp_path):
    x = draw()
    plain = ranges_of(graph, x)
    refined, ranges, steps = refine(graph, plain)
    assert steps == ("1 means of squares on two scales",)
    wanted = np.mean(x.astype(np.float64) ** 2, -1, keepdims=True)
    errors, left = [], []
    for number, (opened, known) in enumerate(((TfliteGraph(graph), plain), (refined, ranges))):
        path = tmp_path / f"{number}.tflite"
        written = to_int8(opened, known)
        path.write_bytes(written)
        errors.append(np.abs(run_tflite(written, x) / wanted - 1))
        left.append(count_partitions(path)["left"])
    smallest = (slice(None), slice(0, 8))
    assert errors[0][smallest].mean() > 0.5  # most of their squares are zero
    assert errors[1][smallest].mean() < 0.1
    assert errors[1][:, -8:].mean() < 0.03  # large ones as well
    assert left == [0, 0]  # nothing falls back from XNNPACK


def test_fine_squares_end_at_the_largest_mean(graph):
    x = draw()
    plain = ranges_of(graph, x)
    refined, ranges, _ = refine(graph, plain)
    squares, means = float((x * x).max()), float(np.mean(x * x, -1).max())
    added = {(name.rpartition("/")[2], ranges[name]) for name in ranges if name not in plain}
    upto = {role: sorted(high for found, (_, high) in added if found == role) for role, _ in added}
    assert upto == {
        "fine": pytest.approx([means]),  # of the squares and of their mean
        "excess": pytest.approx([means, squares - means]),
    }
    assert {low for _, (low, _) in added} == {0.0}
    kinds = refined.kinds
    assert sorted(kinds) == ["ADD", "ADD", "MEAN", "MEAN", "MUL", "MUL"]


def test_means_that_are_large_enough_stay(graph):
    x = draw()
    ranges = ranges_of(graph, x)
    for name, (_, high) in list(ranges.items()):
        if high == pytest.approx(float(np.mean(x * x, -1).max())):
            ranges[name] = (0.05, high)  # more than a level of the squares
    opened, found, steps = refine(graph, ranges)
    assert (opened.to_bytes(), found, steps) == (TfliteGraph(graph).to_bytes(), ranges, ())


@pytest.mark.parametrize("use", [lambda squares: squares, tf.sqrt], ids=["output", "reader"])
def test_whoever_else_reads_the_squares_finds_them_as_before(convert_tflite, use):
    def forward(x):
        squares = x * x
        return {"variance": tf.reduce_mean(squares, -1, keepdims=True), "other": use(squares)}

    graph = convert_tflite(forward, SHAPE, "x")
    plain = ranges_of(graph, draw())
    refined, ranges, steps = refine(graph, plain)
    assert len(steps) == 1
    assert {name: ranges[name] for name in plain} == plain
    kinds = refined.kinds
    assert (kinds.count("MUL"), kinds.count("MEAN")) == (2, 2)


def test_other_products_stay(convert_tflite):
    def forward(x):
        return tf.reduce_mean(x * tf.nn.relu(x), -1, keepdims=True)

    graph = convert_tflite(forward, (1, 8, 16), "x")
    ranges = {name: (0.0, 9.0) for _, name in TfliteGraph(graph).activations()}
    assert refine(graph, ranges)[2] == ()
