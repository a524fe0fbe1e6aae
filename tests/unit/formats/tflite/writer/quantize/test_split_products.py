"""BATCH_MATMUL of two activations as FULLY_CONNECTED: the same int8 answers."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize import split_products as module
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize
from edgevit.formats.tflite.writer.quantize.split_products import level_ranges, split_products

IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 3)).round().astype(np.float32)
TOKENS, WIDTH = 64, 24


@pytest.fixture(scope="module")
def convert(convert_tflite):
    """A function (heads, transposed, batch) -> attention over the pixels of an image."""
    import tensorflow as tf

    def write(heads: int, transposed: bool = False, batch: int | None = 1) -> bytes:
        rng = np.random.default_rng(1)
        depth = WIDTH // heads
        kernels = [tf.constant(rng.normal(0, 0.3, (3, WIDTH)), tf.float32) for _ in range(3)]
        offset = tf.constant(rng.uniform(0, 1, WIDTH), tf.float32)  # keys, values: off centre

        def forward(images):
            x = tf.reshape(images / 255.0, (-1, TOKENS, 3))
            query, key, value = (
                tf.transpose(tf.reshape(x @ w + offset, (-1, TOKENS, heads, depth)), (0, 2, 1, 3))
                for w in kernels
            )
            weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True))
            if transposed:
                value = tf.transpose(value, (0, 1, 3, 2))
            y = tf.matmul(weights, value, transpose_b=transposed)
            return {"logits": tf.reduce_mean(y, 2)}

        return convert_tflite(forward, (batch, 8, 8, 3))

    return write


@pytest.fixture
def to_int8(measure_ranges):
    """A function float file -> integer-only file."""

    def quantise(data: bytes) -> bytes:
        graph = TfliteGraph(data)
        annotate_ranges(graph, level_ranges(graph, measure_ranges(graph, IMAGES)))
        return quantize(graph, "float32", "float32")

    return quantise


def split(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """(the rewritten file, steps taken)."""
    graph = TfliteGraph(data)
    steps = split_products(graph)
    return graph.to_bytes(), steps


@pytest.mark.parametrize(("heads", "transposed"), [(1, False), (3, False), (3, True)])
def test_answers_stay_within_a_level(convert, to_int8, run_tflite, heads, transposed):
    data = to_int8(convert(heads, transposed))
    rewritten, steps = split(data)
    kinds = TfliteGraph(rewritten).kinds
    assert steps == (f"2 BATCH_MATMUL as {2 * heads} FULLY_CONNECTED",)
    assert "BATCH_MATMUL" not in kinds
    assert (
        kinds.count("FULLY_CONNECTED")
        == TfliteGraph(data).kinds.count("FULLY_CONNECTED") + 2 * heads
    )
    for kernels in ("reference", "builtin", "xnnpack"):
        found, wanted = (run_tflite(file, IMAGES, kernels) for file in (rewritten, data))
        levels = np.unique(wanted)
        assert len(levels) > 20
        off = np.abs(found - wanted)
        assert off.max() <= 1.01 * np.diff(levels).min()  # the kernels' multipliers differ a little
        assert np.mean(off > 0) <= 0.05


def test_what_turns_an_operand_twice_turns_it_once(convert, to_int8):
    data = to_int8(convert(3))
    before, after = TfliteGraph(data), TfliteGraph(split(data)[0])
    assert after.kinds.count("TRANSPOSE") <= before.kinds.count("TRANSPOSE")
    orders = [
        after.constant(int(op.inputs[1])).tolist()
        for op in after.operators
        if after.kind(op) == "TRANSPOSE"
    ]
    assert [0, 2, 3, 1] in orders  # values, straight to channels by tokens


def test_second_operands_have_a_zero_point_of_zero(convert, to_int8):
    graph = TfliteGraph(split(to_int8(convert(3)))[0])
    computed = [
        int(op.inputs[1])
        for op in graph.operators
        if graph.kind(op) == "FULLY_CONNECTED" and not graph.is_constant(int(op.inputs[1]))
    ]
    assert len(computed) == 6
    assert {int(graph.tensors[tensor].quantization.zeroPoint[0]) for tensor in computed} == {0}


def test_ranges_are_levelled_back_to_the_layer_that_computes_them(convert, measure_ranges):
    opened = TfliteGraph(convert(3))
    known = measure_ranges(opened, IMAGES)
    found = level_ranges(opened, known)
    changed = {name for name in known if found[name] != known[name]}
    operands = {
        opened.name(int(op.inputs[1]))
        for op in opened.operators
        if opened.kind(op) == "BATCH_MATMUL"
    }
    assert operands < changed
    for name in changed:
        low, high = found[name]
        assert low == pytest.approx(-high * 128 / 127)
        assert high >= max(map(abs, known[name])) - 1e-6


def test_small_products_stay(convert, to_int8, monkeypatch):
    data = to_int8(convert(3))
    work = TOKENS * TOKENS * WIDTH // 3
    monkeypatch.setattr(module, "LEAST_WORK", work)
    assert split(data)[1]
    monkeypatch.setattr(module, "LEAST_WORK", work + 1)
    assert split(data) == (TfliteGraph(data).to_bytes(), ())


def test_floats_and_free_batches_stay(convert, to_int8):
    graph = convert(3)
    assert split(graph) == (TfliteGraph(graph).to_bytes(), ())
    free = convert(3, batch=None)
    assert split(to_int8(free))[1] == ()
