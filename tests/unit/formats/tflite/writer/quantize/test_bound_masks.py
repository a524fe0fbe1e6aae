"""Masks of stored numbers become bounds where they hide every score."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.bound_masks import bound_masks  # noqa: E402

HIDES = np.array([[0, 1, 1, 0]], np.float32)


def masked(mask: float) -> TfliteGraph:
    signature = [tf.TensorSpec((1, 3, 4), tf.float32, name="x")]
    function = tf.function(lambda x: tf.nn.softmax(x + HIDES * mask), input_signature=signature)
    concrete = function.get_concrete_function()
    return TfliteGraph(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())


@pytest.mark.parametrize(
    ("mask", "scores", "bounded"),
    [
        (-1e9, (-8.0, 9.0), True),
        (-100.0, (-8.0, 9.0), True),  # Swin's
        (-100.0, (-60.0, 60.0), False),  # the largest that is hidden is above the smallest
        (-5.0, (-1.0, 1.0), False),  # a bias
    ],
)
def test_a_mask_that_hides_every_score_takes_no_levels_from_them(mask, scores, bounded):
    graph = masked(mask)
    entry, total = (int(op.inputs[0]) for op in graph.operators[:2])
    ranges = {graph.name(entry): scores, graph.name(total): (scores[0] + mask, scores[1])}
    found = bound_masks(graph, ranges)
    assert ("MINIMUM" in graph.kinds) is bounded
    assert found[graph.name(int(graph.operators[0].outputs[0]))] == (
        (scores[0] - 10.0, scores[1]) if bounded else (scores[0] + mask, scores[1])
    )
