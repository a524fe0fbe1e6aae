"""Functions of one tensor without an int8 kernel are looked up, and answer as they should."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ExportError  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges, quantize  # noqa: E402
from edgevit.formats.tflite.writer.quantize.tables import (  # noqa: E402
    TABLES_8,
    TABLES_16,
    hide_functions,
    tabulate,
    write_tables,
)

SHAPE = (1, 6, 8)
FUNCTIONS = {
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "softplus": lambda x: tf.math.log(1 + tf.exp(x)),
    "mish": lambda x: x * tf.tanh(tf.math.log(1 + tf.exp(x))),
    "softsign": lambda x: x / (1 + tf.abs(x)),
    "absolute": lambda x: tf.abs(x),
    "two of one": lambda x: tf.nn.elu(x) * (x / (1 + tf.abs(x))),
    "one behind another": lambda x: tf.nn.elu(tf.reduce_mean(tf.nn.elu(x), -1)),
    "beside a GELU": lambda x: tf.nn.gelu(x) + tf.exp(-x * x),
}


def draw(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 1.5, (count, *SHAPE[1:])).astype(np.float32)


def to_int8(graph: TfliteGraph, ranges: dict) -> bytes:
    functions = hide_functions(graph, TABLES_8)
    annotate_ranges(graph, ranges)
    graph = TfliteGraph(quantize(graph, "float32", "float32"))
    assert write_tables(graph, functions, TABLES_8)
    return graph.to_bytes()


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_without_a_kernel_is_a_table(
    name, kernels, convert_tflite, run_tflite, measure_ranges
):
    graph = TfliteGraph(convert_tflite(FUNCTIONS[name], SHAPE, "x"))
    written = to_int8(graph, measure_ranges(graph, {"x": draw()}))
    kinds = TfliteGraph(written).kinds
    assert "GATHER" in kinds
    assert (kinds.count("QUANTIZE"), kinds.count("DEQUANTIZE")) == (1, 1)
    wanted = FUNCTIONS[name](tf.constant(draw())).numpy()
    away = np.abs(run_tflite(written, draw(), kernels) - wanted)
    assert away.mean() < 0.05 * wanted.std()


def test_functions_with_kernels_stay_as_they_are(convert_tflite):
    def own(x):
        return tf.nn.gelu(x) + x * tf.sigmoid(x) + tf.tanh(x)

    graph = TfliteGraph(convert_tflite(own, SHAPE, "x"))
    before = graph.to_bytes()
    functions = hide_functions(graph, TABLES_8)
    assert functions == [None]
    assert graph.to_bytes() == before
    assert write_tables(graph, functions, TABLES_8) == ()


def test_what_a_function_cannot_answer_the_nearest_level_does():
    table = tabulate(np.log, (0.1, 0), (0.05, 0))
    assert (table[:129] == table[129]).all()  # level 0 stands for zero, whose logarithm is none
    assert table[128 + 10] == 0
    assert table[-1] == round(np.log(12.7) / 0.05)
    with pytest.raises(ExportError, match="not finite"):
        tabulate(lambda x: x * np.nan, (0.1, 0), (0.05, 0))


def test_a_lost_function_is_no_silent_error(convert_tflite):
    graph = TfliteGraph(convert_tflite(lambda x: x + 1.0, SHAPE, "x"))
    with pytest.raises(ExportError, match="lost"):
        write_tables(graph, [np.exp], TABLES_8)


def test_a_table_of_int16_answers_to_every_level():
    table = tabulate(np.tanh, (1e-4, 0), (1 / 32768, 0), TABLES_16)
    levels = np.arange(-32768, 32768)
    assert table.dtype == np.int16
    wanted = np.clip(np.rint(np.tanh(levels * 1e-4) * 32768), -32768, 32767)
    np.testing.assert_array_equal(table, wanted)
