"""Bias correction: a layer's mean error falls, and what is not rounded stays as it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ModelFileError  # noqa: E402
from edgevit.core.format import Format  # noqa: E402
from edgevit.core.target import Precision  # noqa: E402
from edgevit.data.calibration import CalibrationSample  # noqa: E402
from edgevit.formats.calibration import calibrate  # noqa: E402
from edgevit.formats.tflite.operators import WEIGHTED  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.formats.tflite.runtime.litert import open_interpreter  # noqa: E402
from edgevit.formats.tflite.writer.convert import (  # noqa: E402
    float_graph,
    write_int8,
    write_int16x8,
    write_mixed,
)
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.passes import find_passes  # noqa: E402
from edgevit.formats.tflite.writer.quantize.correct_biases import correct_biases  # noqa: E402
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.quantization.observer import Observer  # noqa: E402
from edgevit.quantization.ranges import RangeRecord  # noqa: E402
from helpers.sources import source_of  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)
SHAPE = (24, 20, 3)
LAYERS = 5
STEPS = find_passes("all,no-equalise-channels")
WITHOUT = find_passes("default")


@pytest.fixture(scope="module")
def source() -> Source:
    """Padding, stride, dilation, a depthwise layer, one without bias; linear, as means are."""
    keras.utils.set_random_seed(3)
    x = images = keras.Input(SHAPE, name="images")
    for layer in (
        keras.layers.Conv2D(24, 3, padding="same", strides=2, name="strided"),
        keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
        keras.layers.Conv2D(24, 2, dilation_rate=2, use_bias=False, name="spread"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(40, name="wide"),
        keras.layers.Dense(60, name="logits"),
    ):
        x = layer(x)
    return source_of(keras.Model(images, {"logits": x}))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 24 24 20 3, bright, so that rounding errors of weights do not cancel."""
    return np.random.default_rng(2).integers(90, 256, (24, *SHAPE), dtype=np.uint8)


def record_of(source, images, steps=STEPS) -> RangeRecord:
    sample = CalibrationSample({"images": images}, "drawn", "00")
    return calibrate(Format.TFLITE, source, TfliteOptions(surgery=steps), sample)


@pytest.fixture(scope="module")
def record(source, images) -> RangeRecord:
    return record_of(source, images)


def outputs_of(graph: bytes, images: np.ndarray, path) -> list[np.ndarray]:
    """Mean over images and positions of what each layer with weights computes, by channel."""
    path.write_bytes(graph)
    interpreter = open_interpreter(path, "builtin", preserve_all=True)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    opened = TfliteGraph(graph)
    found: list[list[np.ndarray]] = []
    for image in images:
        interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
        interpreter.invoke()
        values = []
        for operator in opened.operators:
            if opened.kind(operator) in WEIGHTED:
                index = int(operator.outputs[0])
                value = interpreter.get_tensor(index)
                scale, zero = interpreter.get_tensor_details()[index]["quantization"]
                value = (value.astype(np.float64) - zero) * scale if scale else value
                values.append(value.reshape(-1, value.shape[-1]).mean(axis=0))
        found.append(values)
    return [np.mean(values, axis=0) for values in zip(*found, strict=True)]


def test_nothing_changes_where_nothing_is_rounded(source, record):
    graph, _ = float_graph(source, TfliteOptions(surgery=STEPS))
    before, after = graph.to_bytes(), graph.copy()
    precisions = [Precision.FLOAT32] * len(graph.operators)
    assert correct_biases(after, record.means, precisions).count == 0
    assert after.to_bytes() == before
    plain, _ = float_graph(source, TfliteOptions(surgery=WITHOUT))
    assert (
        plain.to_bytes() == before
    )  # what is calibrated and what tflite-float32 holds is not corrected


def test_the_mean_error_of_every_layer_falls(source, images, record, tmp_path):
    graph, _ = float_graph(source, TfliteOptions(surgery=STEPS))
    expected = outputs_of(graph.to_bytes(), images, tmp_path / "float.tflite")
    errors = {}
    for steps in (WITHOUT, STEPS):
        options = TfliteOptions(surgery=steps)
        path = tmp_path / "int16.tflite"
        written = write_int16x8(source, options, record, path)
        assert (f"correct-biases: {LAYERS}" in written.steps) == (steps is STEPS)
        written.finish({})
        found = outputs_of(path.read_bytes(), images, path)
        errors[steps] = [
            np.sqrt(np.mean((y - x) ** 2)) for x, y in zip(expected, found, strict=True)
        ]
    assert len(expected) == LAYERS
    for before, after in zip(errors[WITHOUT], errors[STEPS], strict=True):
        assert after < 0.2 * before


@pytest.mark.parametrize("write", [write_int8, write_mixed])
def test_other_targets_with_integer_weights_are_corrected_too(source, record, write, tmp_path):
    written = write(source, TfliteOptions(surgery=STEPS), record, tmp_path)
    assert any(line.startswith("correct-biases: ") for line in written.steps)


def test_a_layer_is_left_alone_for_a_reason(source, record):
    graph, _ = float_graph(source, TfliteOptions(surgery=STEPS))
    rounded = [Precision.INT8] * len(graph.operators)
    report = correct_biases(graph.copy(), {}, rounded)
    assert report.count == 0
    assert {reason for _, reason in report.skipped} == {
        "calibration did not record the means of what enters"
    }
    wrong = {name: means[:2] for name, means in record.means.items()}
    report = correct_biases(graph.copy(), wrong, rounded)
    reasons = [reason for _, reason in report.skipped]
    assert set(reasons) == {"what enters has other channels than its weights"}
    dynamic = [Precision.DYNAMIC] * len(rounded)
    report = correct_biases(graph.copy(), record.means, dynamic)
    assert "its weights are too few to be rounded" in {reason for _, reason in report.skipped}
    assert 0 < report.count < LAYERS


def test_means_are_recorded_where_they_are_wanted_and_travel_with_the_record(
    source, images, record
):
    assert len(record.means) == LAYERS
    assert record_of(source, images, WITHOUT).means == {}
    assert RangeRecord.from_text(record.to_text(), "record") == record
    text = record.to_text().replace('"means": {', '"means": {"stranger": [0.5],')
    with pytest.raises(ModelFileError, match="'stranger' has no range"):
        RangeRecord.from_text(text, "record")
    name = min(record.means)
    for broken in ("NaN", '"x"'):
        damaged = record.to_document()
        damaged["means"] = {name: [float("nan")] if broken == "NaN" else ["x"]}
        with pytest.raises(ModelFileError, match=r"means|damaged"):
            RangeRecord.from_document(damaged, "record")


def test_means_are_those_of_all_images_in_any_order():
    values = np.random.default_rng(0).normal(7, 3, (4, 1, 5, 6)).astype(np.float32)
    values[:, ..., 0] = np.array([1e8, 6e-9, -1e8, 6e-9], np.float32)[:, None, None]
    found = set()
    for order in itertools.permutations(range(4)):
        observer = Observer()
        observer.averaged = frozenset({"x"})
        for number in order:
            observer.see("x", values[number])
        found.add(observer.observations()["x"].means)
    (means,) = found
    np.testing.assert_allclose(means[1:], values[..., 1:].mean(axis=(0, 1, 2)), rtol=1e-6)
    assert means[0] == pytest.approx(3e-9, abs=1e-9)  # lost where 1e8 is added to it as a float
