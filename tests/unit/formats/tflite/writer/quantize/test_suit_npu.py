"""Shifts, means over channels and resizes in forms that an Ethos-U runs: the same int8 outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize import suit_npu as module
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize
from edgevit.formats.tflite.writer.quantize.multiply_resizes import resize_weights
from edgevit.formats.tflite.writer.quantize.suit_npu import suit_npu

IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 8, 10, 3)).round().astype(np.float32)
SIZE = (12, 15)


def shift(x, step: int = 1):
    """Moves two channels to the left and right, one down; the last stays."""
    import tensorflow as tf

    wide = tf.pad(x, ((0, 0), (step, step), (step, step), (0, 0)))
    rows, columns = x.shape[1:3]
    return tf.concat(
        [
            wide[:, step : step + rows, 2 * step : 2 * step + columns, :1],
            wide[:, step : step + rows, :columns, 1:2],
            wide[:, :rows, step : step + columns, 2:3],
            x[..., 3:],
        ],
        -1,
    )


def norm(x):
    import tensorflow as tf

    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    return tf.nn.relu(centred) + tf.reduce_mean(x, -1)[..., None]


@pytest.fixture(scope="module")
def convert(convert_tflite, measure_ranges):
    """A function (function of B H W 4, batch) -> integer-only file."""
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(1).normal(0, 0.3, (3, 4)), tf.float32)

    def write(body, batch: int | None = 1) -> bytes:
        def forward(images):
            x = tf.image.resize(images, SIZE) / 255.0
            return {"maps": body(tf.tensordot(x, kernel, 1))}

        graph = TfliteGraph(convert_tflite(forward, (batch, *IMAGES.shape[1:])))
        annotate_ranges(graph, measure_ranges(graph, IMAGES))
        return quantize(graph, "float32", "float32")

    return write


def suit(data: bytes) -> tuple[TfliteGraph, tuple[str, ...]]:
    graph = TfliteGraph(data)
    return graph, suit_npu(graph)


def test_outputs_stay_within_a_level(convert, run_tflite):
    data = convert(lambda x: norm(shift(x)))
    graph, steps = suit(data)
    assert steps == (
        "1 shifts of channels as depthwise convolutions",
        "2 means over channels as products",
        "1 bilinear resizes as two products",
    )
    assert not {"MEAN", "RESIZE_BILINEAR", "PAD", "CONCATENATION"} & {*graph.kinds}
    for kernels in ("reference", "builtin", "xnnpack"):
        found, wanted = (run_tflite(file, IMAGES, kernels) for file in (graph.to_bytes(), data))
        levels = np.unique(wanted)
        assert len(levels) > 100
        off = np.abs(found - wanted)
        assert off.max() <= 3.01 * np.diff(levels).min()  # a level of each of three roundings
        assert np.mean(off > 1.01 * np.diff(levels).min()) <= 0.06


def test_a_mean_rounds_as_litert_s_own(convert, run_tflite, monkeypatch):
    monkeypatch.setattr(module, "REWRITES", module.REWRITES[1:2])
    data = convert(norm)
    graph, steps = suit(data)
    assert steps
    found, wanted = (run_tflite(file, IMAGES, "builtin") for file in (graph.to_bytes(), data))
    off = np.abs(found - wanted)
    assert off.max() <= 2.01 * np.diff(np.unique(wanted)).min()  # two means meet in the sum
    assert np.mean(off > 0) <= 0.05


def test_a_shift_moves_the_same_bits(convert, run_tflite, monkeypatch):
    monkeypatch.setattr(module, "REWRITES", module.REWRITES[:1])
    data = convert(shift)
    graph, steps = suit(data)
    assert steps
    for kernels in ("reference", "builtin", "xnnpack"):
        found, wanted = (run_tflite(file, IMAGES, kernels) for file in (graph.to_bytes(), data))
        assert len(np.unique(wanted)) > 100
        np.testing.assert_array_equal(found, wanted)


def test_a_shift_by_two_pixels_stays(convert):
    graph, steps = suit(convert(lambda x: shift(x, 2)))
    assert not any("shifts" in step for step in steps)
    assert "CONCATENATION" in graph.kinds


def test_what_swaps_channels_is_no_shift(convert):
    import tensorflow as tf

    graph, steps = suit(convert(lambda x: tf.concat([x[..., 2:], x[..., :2]], -1)))
    assert not any("shifts" in step for step in steps)
    assert "CONCATENATION" in graph.kinds


def test_a_free_batch_keeps_its_resize(convert):
    graph, steps = suit(convert(lambda x: x, batch=None))
    assert steps == ()
    assert "RESIZE_BILINEAR" in graph.kinds


@pytest.mark.parametrize(("old", "new"), [(32, 48), (32, 72), (8, 12), (64, 48), (7, 7), (1, 5)])
def test_weights_of_a_resize_are_tensorflow_s_and_sum_to_one(old, new):
    import tensorflow as tf

    weights, scales = resize_weights(old, new)
    lines = tf.image.resize(np.eye(old, dtype=np.float32)[:, :, None, None], (new, 1))
    np.testing.assert_allclose(weights * scales[:, None], lines.numpy()[:, :, 0, 0].T, atol=0.004)
    np.testing.assert_allclose(weights.sum(1) * scales, 1, rtol=1e-12)
