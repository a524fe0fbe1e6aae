"""Scaled pixels are never rounded by half a level where a slightly wider range avoids it."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.avoid_ties import avoid_ties  # noqa: E402
from edgevit.quantization.levels import affine_of  # noqa: E402


def graph_of(scale: float, offset: float) -> TfliteGraph:
    """Pixels, scaled and shifted, in front of a convolution that pads zeros."""

    @tf.function(input_signature=[tf.TensorSpec((1, 6, 6, 3), name="images")])
    def run(images):
        kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 3, 4)), tf.float32)
        return {"out": tf.nn.conv2d(images * scale + offset, kernel, 1, "SAME")}

    module = tf.Module()
    module.run = run
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], module
    )
    return TfliteGraph(bytes(converter.convert()))


def error_of(pixels: np.ndarray, pair: tuple[float, float]) -> float:
    """Largest error of a pixel, in levels."""
    levels = affine_of(*pair)
    scaled = pixels / float(levels.scale)
    return float(np.square(np.rint(scaled) - scaled).mean())


@pytest.mark.parametrize(("scale", "offset"), [(1 / 127.5, -1.0), (1 / 64, -2.0)])
def test_pixels_around_zero_are_rounded_to_a_third_of_the_power(scale, offset):
    graph = graph_of(scale, offset)
    pixels = np.arange(256) * scale + offset
    (conv,) = (op for op in graph.operators if graph.kind(op) == "CONV_2D")
    name = graph.name(int(conv.inputs[0]))
    ranges = {graph.name(i): (float(pixels.min()), float(pixels.max())) for i in graph.makers()}
    found = avoid_ties(graph, ranges, ["images"])[name]
    assert error_of(pixels, found) <= min(error_of(pixels, ranges[name]), 0.1)
    assert found[0] <= pixels.min()
    assert found[1] >= pixels.max()


def test_pixels_that_are_levels_stay_so():
    graph = graph_of(1 / 255, 0.0)
    ranges = {graph.name(index): (0.0, 1.0) for index in graph.makers()}
    assert avoid_ties(graph, ranges, ["images"]) == ranges
    assert avoid_ties(graph, ranges, []) == ranges
