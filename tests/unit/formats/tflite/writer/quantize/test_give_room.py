"""Ranges that LiteRT's kernels would end the process on are widened before they are written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.give_room import (  # noqa: E402
    LEVELS,
    SOFTMAX_BITS,
    SUM_BITS,
    give_room,
)
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402
from edgevit.formats.tflite.writer.quantize.widen_operands import width_of  # noqa: E402

SHAPE = (1, 4)
RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kernels = OpResolverType.BUILTIN_REF
interpreter = Interpreter(sys.argv[1], experimental_op_resolver_type=kernels)
interpreter.allocate_tensors()
"""


def softmax(images):
    return {"logits": tf.nn.softmax(tf.nn.relu(images) * 1e-9)}


def cancelled(images):
    moved = tf.nn.relu(images)
    return {"logits": moved - (moved + 1e-7)}


@pytest.mark.parametrize("network", [softmax, cancelled])
def test_kernels_run_what_would_have_ended_their_process(
    network, convert_tflite, measure_ranges, tmp_path
):
    samples = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    codes = []
    for widen in (lambda graph, ranges: ranges, give_room):
        graph = TfliteGraph(convert_tflite(network, SHAPE))
        annotate_ranges(graph, widen(graph, measure_ranges(graph, samples)))
        path = tmp_path / "net.tflite"
        path.write_bytes(quantize(graph, "float32", "float32"))
        codes.append(subprocess.run([sys.executable, "-c", RUN, path], check=False).returncode)
    assert codes == [-6, 0]  # if the first is 0, LiteRT was mended and give_room can go


def test_only_what_is_too_narrow_is_widened(convert_tflite, measure_ranges):
    graph = TfliteGraph(convert_tflite(softmax, SHAPE))
    samples = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    before = measure_ranges(graph, samples)
    after = give_room(graph, before)
    moved = {name for name in before if before[name] != after[name]}
    (entering,) = (
        graph.name(int(op.inputs[0])) for op in graph.operators if graph.kind(op) == "SOFTMAX"
    )
    assert moved == {entering}
    assert (
        width_of(after[entering]) / LEVELS
        > 2.0**-SOFTMAX_BITS
        > width_of(before[entering]) / LEVELS
    )
    wide = {name: (-1.0, 1.0) for name in before}
    assert give_room(graph, wide) == wide


def test_a_sum_is_no_finer_than_its_operands_allow(convert_tflite):
    graph = TfliteGraph(convert_tflite(cancelled, SHAPE))
    ranges = {name: (0.0, 1.0) for _, name in graph.activations()}
    (difference,) = (
        graph.name(int(op.outputs[0])) for op in graph.operators if graph.kind(op) == "SUB"
    )
    after = give_room(graph, {**ranges, difference: (-1e-7, 0.0)})
    assert width_of(after[difference]) > 2.0**-SUM_BITS
    assert after[difference][1] == 0.0
