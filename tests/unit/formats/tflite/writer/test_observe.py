"""Activation ranges are measured without regard to order and written where they are looked for."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ConfigError, ExportError  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges  # noqa: E402

SHAPE = (1, 6, 6, 3)
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)


def network(images):
    x = tf.nn.conv2d(images, KERNEL, 1, "SAME")
    return {"logits": tf.reduce_mean(tf.nn.relu(x) - 0.25, axis=(1, 2))}


@pytest.fixture
def graph(convert_tflite) -> TfliteGraph:
    return TfliteGraph(convert_tflite(network, SHAPE))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 6, 6, 3)).astype(np.float32)


def test_every_activation_gets_the_range_that_was_seen(measure_ranges, graph, images):
    ranges = measure_ranges(graph, images)
    names = [name for _, name in graph.activations()]
    assert sorted(ranges) == sorted(names)
    entry = next(name for name in names if "images" in name)
    assert ranges[entry] == (float(images.min()), float(images.max()))
    expected = np.stack([network(image[None])["logits"][0].numpy() for image in images])
    wanted = pytest.approx((expected.min(), expected.max()), abs=1e-5)
    assert any(pair == wanted for pair in ranges.values())


def test_ranges_are_those_of_kernels_that_keep_every_tensor(
    measure_ranges, graph, images, tmp_path
):
    from edgevit.formats.tflite.runtime.litert import open_interpreter

    before = graph.to_bytes()
    found = measure_ranges(graph, images[:1])
    assert graph.to_bytes() == before
    path = tmp_path / "float.tflite"
    path.write_bytes(before)
    interpreter = open_interpreter(path, "builtin", preserve_all=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images[:1])
    interpreter.invoke()
    for index, name in graph.activations():
        values = interpreter.get_tensor(index)
        assert found[name] == pytest.approx((values.min(), values.max()), rel=1e-5, abs=1e-6)


def test_the_order_of_the_images_does_not_matter(measure_ranges, graph, images):
    assert measure_ranges(graph, images) == measure_ranges(graph, images[::-1])


def test_more_images_never_narrow_a_range(measure_ranges, graph, images):
    few, all_of_them = measure_ranges(graph, images[:2]), measure_ranges(graph, images)
    for name, (low, high) in few.items():
        assert all_of_them[name][0] <= low <= high <= all_of_them[name][1]
    assert few != all_of_them


def test_progress_counts_the_images(measure_ranges, graph, images):
    calls = []
    measure_ranges(graph, images, lambda done, total: calls.append((done, total)))
    assert calls == [(number + 1, 6) for number in range(6)]


def test_no_image_is_refused(measure_ranges, graph):
    with pytest.raises(ConfigError, match="at least one image"):
        measure_ranges(graph, np.zeros((0, 6, 6, 3), np.float32))


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_is_refused_wherever_it_comes(
    measure_ranges, graph, images, value, place
):
    broken = images.copy()
    broken[place, 2, 2, 1] = value
    with pytest.raises(ExportError, match="is not finite on the calibration images"):
        measure_ranges(graph, broken)


def test_ranges_are_written_into_the_graph_and_always_hold_zero(measure_ranges, graph, images):
    ranges = {name: (0.5, 2.0) for name in measure_ranges(graph, images)}
    annotate_ranges(graph, ranges)
    written = TfliteGraph(graph.to_bytes())
    found = {
        name: (float(quantization.min[0]), float(quantization.max[0]))
        for index, name in written.activations()
        for quantization in [written.tensors[index].quantization]
    }
    assert found == dict.fromkeys(ranges, (0.0, 2.0))


def test_ranges_of_another_graph_are_refused_with_a_tensor_named(measure_ranges, graph, images):
    ranges = measure_ranges(graph, images)
    missing = next(iter(ranges))
    others = {f"other/{name}" if name == missing else name: v for name, v in ranges.items()}
    with pytest.raises(ExportError, match="belongs to another graph") as caught:
        annotate_ranges(graph, others)
    assert repr(missing) in str(caught.value)


def test_a_reshape_that_the_record_does_not_know_takes_the_range_of_its_other_side(convert_tflite):
    def reshaping(images):
        x = tf.reshape(tf.nn.relu(images), (1, 36, 3))
        return {"logits": tf.reshape(tf.nn.relu(x - 1.0), (1, 108))}

    graph = TfliteGraph(convert_tflite(reshaping, SHAPE))
    reshapes = [
        [graph.name(int(side[0])) for side in (operator.inputs, operator.outputs)]
        for operator in graph.operators
        if graph.kind(operator) == "RESHAPE"
    ]
    whole = {name: (0.0, 1.0 + k) for k, (_, name) in enumerate(graph.activations())}
    for before, after in reshapes:
        whole[after] = whole[before]
    for lost in reshapes[0]:  # either side
        partial = {name: pair for name, pair in whole.items() if name != lost}
        complete = graph.copy()
        annotate_ranges(graph, partial)
        annotate_ranges(complete, whole)
        assert graph.to_bytes() == complete.to_bytes()
