"""Operators without an integer kernel return the same in another form, and then have one."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.passes.suit_integers import (  # noqa: E402
    slice_splits,
    suit_integers,
)
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402

SHAPE = (1, 4, 4, 8)


def unit_length(x):
    return x * tf.math.rsqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True) + 0.1)


def quotient(x):
    return (x - 0.5) / (tf.reduce_max(tf.abs(x), -1, keepdims=True) + 0.5)


def one_gate(x):
    first, _, third, _ = tf.split(x, 4, -1)
    return first * third


def uneven_gate(x):
    first, _, third = tf.split(x, (3, 2, 3), -1)
    return first * third


def repeated(x):
    return tf.tile(x, (1, 2, 3, 1))


def sums(x):
    return tf.reduce_sum(x, (1, 2))


FUNCTIONS = {
    "SQUARE": unit_length,
    "SUM": sums,
    "DIV": quotient,
    "SPLIT": one_gate,
    "SPLIT_V": uneven_gate,
    "TILE": repeated,
}


def draw(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 1, (count, *SHAPE[1:])).astype(np.float32)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_other_form_returns_the_same(kind, convert_tflite, run_tflite):
    graph = TfliteGraph(convert_tflite(FUNCTIONS[kind], SHAPE, "x"))
    assert kind in graph.kinds
    assert suit_integers(graph).count > 0
    assert kind not in graph.kinds or kind == "DIV"
    wanted = FUNCTIONS[kind](tf.constant(draw())).numpy()
    np.testing.assert_allclose(run_tflite(graph.to_bytes(), draw()), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["SQUARE", "SUM", "SPLIT", "SPLIT_V", "TILE"])
@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_the_other_form_computes_in_int8(kind, kernels, convert_tflite, run_tflite, measure_ranges):
    graph = TfliteGraph(convert_tflite(FUNCTIONS[kind], SHAPE, "x"))
    suit_integers(graph)
    annotate_ranges(graph, measure_ranges(graph, {"x": draw()}))
    written = quantize(graph, "float32", "float32")
    kinds = TfliteGraph(written).kinds
    assert (kinds.count("QUANTIZE"), kinds.count("DEQUANTIZE")) == (1, 1)
    wanted = FUNCTIONS[kind](tf.constant(draw())).numpy()
    away = np.abs(run_tflite(written, draw(), kernels) - wanted)
    assert away.mean() < 0.05 * wanted.std()


def test_a_graph_of_operators_with_kernels_stays_as_it_is(convert_tflite):
    graph = TfliteGraph(convert_tflite(lambda x: tf.nn.relu(x * 2 + 1), SHAPE, "x"))
    before = graph.to_bytes()
    assert suit_integers(graph).count == 0
    assert graph.to_bytes() == before


def test_slices_take_the_place_of_split_unpack_and_pack(convert_tflite, run_tflite):
    def turned(x):
        first, second = tf.split(x, 2, -1)
        rows = tf.unstack(first + tf.tanh(second), axis=1)
        return tf.stack(rows[::-1], axis=2)

    graph = TfliteGraph(convert_tflite(turned, SHAPE, "x"))
    assert {"SPLIT", "PACK"} <= {*graph.kinds}
    assert slice_splits(graph).count > 1
    assert not {"SPLIT", "UNPACK", "PACK"} & {*graph.kinds}
    wanted = turned(tf.constant(draw())).numpy()
    np.testing.assert_allclose(run_tflite(graph.to_bytes(), draw()), wanted, atol=1e-5)
