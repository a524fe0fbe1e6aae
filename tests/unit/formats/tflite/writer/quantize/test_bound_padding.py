"""Minus infinity in front of a max pooling takes no level from the pixels beside it."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.observe import observe_activations  # noqa: E402
from edgevit.formats.tflite.writer.quantize.bound_padding import bound_padding  # noqa: E402
from edgevit.quantization.observer import Observer  # noqa: E402

SHAPE = (1, 6, 6, 4)
SIDES = ((0, 0), (1, 1), (1, 1), (0, 0))


def padded(x, value=float("-inf")):
    return tf.pad(x * 2.0, SIDES, constant_values=value)


def pooled(x):
    return tf.nn.max_pool2d(padded(x), 3, 2, "VALID") + 1.0


def pooled_in_a_row(x):
    """As a pooling of one dimension: sizes change in between, and each window holds a pixel."""
    rows = tf.pad(x * 2.0, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=float("-inf"))
    rows = tf.reshape(rows, (1, 1, 48, 4))
    return tf.nn.max_pool2d(rows, (1, 4), (1, 4), "VALID") + 1.0


def read_by_another(x):
    found = padded(x)
    return tf.nn.max_pool2d(found, 3, 2, "VALID") + tf.nn.relu(found[:, :3, :3])


def padded_with_less(x):
    return tf.nn.max_pool2d(padded(x, 0.0), 3, 2, "VALID") + 1.0


def opened(function) -> tuple[TfliteGraph, dict, np.ndarray]:
    """(graph, ranges, samples)"""
    signature = [tf.TensorSpec(SHAPE, tf.float32, name="x")]
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": function(x)}, input_signature=signature)
    concrete = module.call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    graph = TfliteGraph(converter.convert())
    samples = np.random.default_rng(0).normal(0, 1, (16, *SHAPE[1:])).astype(np.float32)
    found = observe_activations(graph, {"x": samples}, Observer())
    return graph, {name: (value.low, value.high) for name, value in found.items()}, samples


def run(graph: TfliteGraph, sample: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=graph.to_bytes())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("function", [pooled, pooled_in_a_row])
def test_a_maximum_over_what_is_padded_is_the_same_in_a_narrow_range(function):
    graph, ranges, samples = opened(function)
    assert min(low for low, _ in ranges.values()) < -1e30
    before = run(graph, samples[0])
    found = bound_padding(graph, ranges)
    assert min(low for low, _ in found.values()) > -10
    np.testing.assert_array_equal(run(graph, samples[0]), before)


@pytest.mark.parametrize("function", [read_by_another, padded_with_less])
def test_padding_that_others_read_or_that_a_pixel_is_below_stays(function):
    graph, ranges, samples = opened(function)
    before = run(graph, samples[0])
    assert bound_padding(graph, ranges) == ranges
    np.testing.assert_array_equal(run(graph, samples[0]), before)
