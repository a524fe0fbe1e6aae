"""Ranges end where what reads a tensor stops to move."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.cut_ranges import cut_ranges  # noqa: E402

SHAPE = (1, 6, 8)
WIDE = (-12.0, 9.0)


def dense(x):
    return tf.matmul(x, tf.constant(np.eye(8, dtype=np.float32) * 2)) + 1.0


def hard_swish(x):
    return x * tf.nn.relu6(x + 3.0) * (1 / 6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (hard_swish, (-3.0, 9.0)),
        (lambda x: hard_swish(x) + x, WIDE),  # one reader moves everywhere
        (tf.tanh, WIDE),
    ],
)
def test_a_range_ends_where_all_readers_are_flat(convert_tflite, function, expected):
    graph = TfliteGraph(convert_tflite(lambda x: {"y": function(dense(x)) + 1.0}, SHAPE, "x"))
    (product,) = (op for op in graph.operators if graph.kind(op) == "FULLY_CONNECTED")
    before = {name: WIDE for _, name in graph.activations()}
    after = cut_ranges(graph, before)
    assert after[graph.name(int(product.outputs[0]))] == pytest.approx(expected)


def test_an_output_of_the_file_keeps_its_range(convert_tflite):
    def forward(x):
        product = dense(x)
        return {"y": hard_swish(product) + 1.0, "z": product}

    graph = TfliteGraph(convert_tflite(forward, SHAPE, "x"))
    before = {name: WIDE for _, name in graph.activations()}
    after = cut_ranges(graph, before)
    assert all(after[graph.name(int(index))] == WIDE for index in graph.graph.outputs)


def test_a_range_where_nothing_moves_stays_a_range(convert_tflite):
    graph = TfliteGraph(convert_tflite(lambda x: {"y": hard_swish(dense(x)) + 1.0}, SHAPE, "x"))
    before = {name: (-9.0, -5.0) for _, name in graph.activations()}
    assert all(low <= high for low, high in cut_ranges(graph, before).values())
