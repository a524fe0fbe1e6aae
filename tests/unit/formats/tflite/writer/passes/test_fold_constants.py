"""What depends on no input is stored, and the network returns what it did."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.passes import fold_constants as module  # noqa: E402
from edgevit.formats.tflite.writer.passes.fold_constants import fold_constants  # noqa: E402

SHAPE = (1, 4, 4)


def window_mask():
    """As Swin assembles it: slices are written one by one, and then compared. 1 4 4."""
    from keras import ops

    regions = ops.zeros((1, 4), dtype="int32")
    for number, start in enumerate((0, 1, 3)):
        regions = ops.slice_update(regions, [0, start], ops.ones((1, 1), "int32") * number)
    apart = ops.expand_dims(regions, 1) != ops.expand_dims(regions, 2)
    return ops.cast(apart, "float32") * -100.0


def masked(x):
    return tf.nn.softmax(x + window_mask())


def masked_twice(x):
    """Both ends of one chain are read, the second by what is computed too."""
    mask = window_mask()
    return tf.nn.softmax(x + mask) + tf.reduce_max(x * (mask + 1.0), -1, keepdims=True)


def mask_alone(x):
    return {"a": tf.nn.relu(x), "b": window_mask()}


def convert(function, **options) -> bytes:
    signature = [tf.TensorSpec(SHAPE, tf.float32, name="x")]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    for name, value in options.items():
        setattr(converter, name, value)
    return converter.convert()


def run(data: bytes) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    x = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    interpreter.set_tensor(entry["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(out["index"]) for out in interpreter.get_output_details()]


@pytest.mark.parametrize("function", [masked, masked_twice])
def test_a_chain_of_stored_values_is_stored_at_its_end(function):
    data = convert(function)
    graph = TfliteGraph(data)
    assert "CAST" in graph.kinds  # what no integer kernel takes, and the converter leaves
    assert fold_constants(graph).count > 3
    assert not {"CAST", "NOT_EQUAL", "DYNAMIC_UPDATE_SLICE"} & set(graph.kinds)
    np.testing.assert_array_equal(run(graph.to_bytes()), run(data))
    assert fold_constants(graph).count == 0


def test_a_graph_without_such_a_chain_stays_as_it_is():
    graph = TfliteGraph(convert(lambda x: tf.nn.softmax(x + tf.ones(SHAPE))))
    before = list(graph.operators)
    assert fold_constants(graph).count == 0
    assert graph.operators == before


def test_an_output_that_depends_on_no_input_stays_computed():
    data = convert(mask_alone)
    graph = TfliteGraph(data)
    fold_constants(graph)
    for found, wanted in zip(run(graph.to_bytes()), run(data), strict=True):
        np.testing.assert_array_equal(found, wanted)
    outputs = [int(index) for index in graph.graph.outputs]
    assert not any(graph.is_constant(index) for index in outputs)


def test_weights_of_fewer_bytes_and_large_results_stay_computed(monkeypatch):
    kernel = np.random.default_rng(0).normal(0, 1, (4, 256)).astype(np.float32)
    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    options["target_spec"] = tf.lite.TargetSpec(supported_types=[tf.float16])
    graph = TfliteGraph(convert(lambda x: tf.matmul(tf.reshape(x, (4, 4)), kernel), **options))
    assert "DEQUANTIZE" in graph.kinds
    fold_constants(graph)
    assert "DEQUANTIZE" in graph.kinds
    monkeypatch.setattr(module, "LARGEST", 8)
    graph = TfliteGraph(convert(masked))
    assert "CAST" in graph.kinds
    fold_constants(graph)
    assert "CAST" in graph.kinds
