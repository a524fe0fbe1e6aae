"""What LiteRT's softmax would end the process on is widened before it is written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.give_room import (  # noqa: E402
    BITS,
    LEVELS,
    give_room,
)
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402
from edgevit.formats.tflite.writer.quantize.widen_operands import width_of  # noqa: E402

SHAPE = (1, 4)
SAMPLES = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
RUN = """
import sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kernels = OpResolverType.BUILTIN_REF
Interpreter(sys.argv[1], experimental_op_resolver_type=kernels).allocate_tensors()
"""


def softmax(images):
    return {"logits": tf.nn.softmax(tf.nn.relu(images) * 1e-9)}


@pytest.fixture
def graph(convert_tflite) -> TfliteGraph:
    return TfliteGraph(convert_tflite(softmax, SHAPE))


def test_kernels_run_what_would_have_ended_their_process(graph, measure_ranges, tmp_path):
    before, codes = measure_ranges(graph, SAMPLES), []
    for ranges in (before, give_room(graph, before)):
        annotated = graph.copy()
        annotate_ranges(annotated, ranges)
        path = tmp_path / "net.tflite"
        path.write_bytes(quantize(annotated, "float32", "float32"))
        codes.append(subprocess.run([sys.executable, "-c", RUN, path], check=False).returncode)
    assert codes == [-6, 0]  # if the first is 0, LiteRT was mended and give_room can go


def test_only_what_is_too_narrow_is_widened(graph, measure_ranges):
    before = measure_ranges(graph, SAMPLES)
    after = give_room(graph, before)
    (entering,) = (
        graph.name(int(op.inputs[0])) for op in graph.operators if graph.kind(op) == "SOFTMAX"
    )
    assert {name for name in before if before[name] != after[name]} == {entering}
    narrow, wide = (width_of(side[entering]) / LEVELS for side in (before, after))
    assert narrow < 2.0**-BITS < wide
    usual = {name: (-1.0, 1.0) for name in before}
    assert give_room(graph, usual) == usual
