"""Deviations in int16 that are right from the weakest position to the strongest."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.core.target import Precision  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.set_precisions import set_precisions  # noqa: E402
from edgevit.formats.tflite.writer.quantize.split_deviations import split_deviations  # noqa: E402

POSITIONS, CHANNELS = 48, 96
SHAPE = (1, POSITIONS, CHANNELS)
EPSILON = 1e-6


def normalise(x):
    """B positions channels -> the same over its root mean square."""
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + EPSILON)


def normalise_above(x):
    """Likewise, with another way to keep from dividing by nothing."""
    return x * tf.math.rsqrt(tf.maximum(tf.reduce_mean(x * x, -1, keepdims=True), EPSILON))


def draw(weakest: float) -> np.ndarray:
    """Positions whose deviations rise to 5; the strongest has one large value."""
    rng = np.random.default_rng(0)
    deviations = np.geomspace(weakest, 5, POSITIONS)
    x = rng.standard_normal(SHAPE) * deviations[None, :, None]
    x[0, -1, 0] = 40
    return x.astype(np.float32)


def ranges_of(graph: TfliteGraph, x: np.ndarray) -> dict[str, tuple[float, float]]:
    """Of the activations of one of the two functions."""
    means, makers = (x * x).mean(-1, keepdims=True), graph.makers()
    roots = 1 / np.sqrt(means + EPSILON)
    values = {"": x, "RSQRT": roots, "MEAN": means, "ADD": means, "MAXIMUM": means}
    found = {}
    for tensor, name in graph.activations():
        maker = makers.get(tensor)
        kind = graph.kind(maker) if maker else ""
        if kind == "MUL":
            alone = int(maker.inputs[0]) == int(maker.inputs[1])
            seen = x * x if alone else x * roots
        else:
            seen = values[kind]
        found[name] = (float(seen.min()), float(seen.max()))
    return found


def write(graph: TfliteGraph, ranges: dict[str, tuple[float, float]]) -> bytes:
    set_precisions(graph, ranges, [Precision.INT16X8] * len(graph.operators), {}, True)
    return graph.to_bytes()


def errors(written: bytes, x: np.ndarray, wanted: np.ndarray, run) -> np.ndarray:
    """Relative error of each position."""
    off = np.linalg.norm(run(written, x) - wanted, axis=-1)
    return (off / np.linalg.norm(wanted, axis=-1)).reshape(-1)


@pytest.mark.parametrize("function", [normalise, normalise_above])
def test_the_weakest_position_is_divided_by_its_own_deviation(function, convert_tflite, run_tflite):
    x = draw(0.05)
    wanted = np.asarray(function(tf.constant(x)))
    data = convert_tflite(function, SHAPE, "x")
    plain, split = TfliteGraph(data), TfliteGraph(data)
    known = ranges_of(plain, x)
    ranges, steps = split_deviations(split, known)
    assert steps == ("1 deviations in pieces",)
    before = errors(write(plain, known), x, wanted, run_tflite)
    after = errors(write(split, ranges), x, wanted, run_tflite)
    rounded = 40 / 32767 / np.sqrt(12) / x.std(-1).reshape(-1)  # of what enters
    assert before.max() > 0.1
    assert np.all(after < 2 * rounded + 0.004)


def test_deviations_that_are_about_equal_stay_as_they_are(convert_tflite):
    data = convert_tflite(normalise, SHAPE, "x")
    graph = TfliteGraph(data)
    known = ranges_of(graph, draw(3.0))
    assert split_deviations(graph, known) == (known, ())
    assert graph.to_bytes() == TfliteGraph(data).to_bytes()
