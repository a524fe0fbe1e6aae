"""Kernels that end the process end one of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ConfigError, KernelsEnded  # noqa: E402
from edgevit.formats.apart import ApartSession  # noqa: E402
from edgevit.formats.registry import find_runtime, load_session, open_here  # noqa: E402
from edgevit.formats.tflite.runtime.wide_softmax import HELD, find_wide_softmax  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402

REFERENCE = "litert-reference"


@pytest.fixture(scope="module")
def write(tmp_path_factory, convert_tflite):
    """A function (classes) that writes a softmax over so many in int8."""
    place = tmp_path_factory.mktemp("softmax")

    def written(classes: int) -> Path:
        path = place / f"{classes}.tflite"
        if not path.exists():
            graph = TfliteGraph(convert_tflite(lambda x: {"out": tf.nn.softmax(x)}, (1, classes)))
            (softmax,) = graph.operators
            entering, leaving = (int(side[0]) for side in (softmax.inputs, softmax.outputs))
            ranges = {graph.name(entering): (-9.0, 9.0), graph.name(leaving): (0.0, 1.0)}
            annotate_ranges(graph, ranges)
            path.write_bytes(quantize(graph, "float32", "float32"))
        return path

    return written


def test_more_classes_than_the_kernel_holds_are_named(write):
    assert find_wide_softmax(write(HELD)) == ""
    assert "8-bit softmax over 600 classes" in find_wide_softmax(write(600))


def test_it_ends_where_they_are_nearly_equal_and_nowhere_else(write):
    flat = np.zeros((1, 600), np.float32)
    peak = np.eye(1, 600, 7, dtype=np.float32) * 9
    with (
        load_session(write(600), REFERENCE) as apart,
        open_here(write(600), find_runtime(REFERENCE)) as here,
    ):
        assert isinstance(apart, ApartSession)
        np.testing.assert_array_equal(apart.run(peak)["out"], here.run(peak)["out"])
        # If it does not, LiteRT was mended, and all of this can go.
        with pytest.raises(KernelsEnded, match=r"ends its process \(SIGABRT\).*600 classes"):
            apart.run(flat)
        with pytest.raises(ConfigError, match="shape B 600"):
            apart.run(np.zeros((1, 3), np.float32))
        assert apart.outputs == here.outputs


@pytest.mark.parametrize(("classes", "runtime"), [(HELD, REFERENCE), (600, "litert")])
def test_what_cannot_end_runs_in_this_process(write, classes, runtime):
    with load_session(write(classes), runtime) as session:
        assert not isinstance(session, ApartSession)
        found = session.run(np.zeros((1, classes), np.float32))["out"]
    assert found.shape == (1, classes)
