"""Channels of very different size keep their precision in 8 bits, and say so in their names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

from edgevit.core.format import Format  # noqa: E402
from edgevit.data.calibration import CalibrationSample  # noqa: E402
from edgevit.formats.calibration import calibrate  # noqa: E402
from edgevit.formats.layer_names import is_levelled  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.formats.tflite.runtime.litert import open_interpreter  # noqa: E402
from edgevit.formats.tflite.runtime.nodes import read_nodes  # noqa: E402
from edgevit.formats.tflite.writer.convert import float_graph, write_int8  # noqa: E402
from edgevit.formats.tflite.writer.graph import RELU  # noqa: E402
from edgevit.formats.tflite.writer.passes import find_passes  # noqa: E402
from edgevit.formats.tflite.writer.passes.channels import activation  # noqa: E402
from edgevit.formats.tflite.writer.quantize.level_channels import level_channels  # noqa: E402
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.quantization.ranges import RangeRecord  # noqa: E402
from helpers.sources import source_of  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)
SHAPE, WIDTH, COUNT = (12, 12, 3), 16, 48
PLAIN = ("centre-norms", "fold-affine", "attend-through-tokens", "correct-biases")


def uneven(kernel: np.ndarray, axis: int) -> np.ndarray:
    """Channels of a kernel that differ by a factor of up to thirty."""
    shape = [1] * kernel.ndim
    shape[axis] = -1
    return kernel * np.geomspace(0.05, 1.5, kernel.shape[axis]).reshape(shape)


@pytest.fixture(scope="module")
def source() -> Source:
    """An inverted residual with relu6, a strided depthwise layer behind padding, and a mean."""
    keras.utils.set_random_seed(3)
    images = keras.Input(SHAPE, name="images")
    x = keras.layers.Conv2D(WIDTH, 1, activation="relu6", name="expand")(images)
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(x)
    x = keras.layers.DepthwiseConv2D(3, 2, activation="relu6", name="depthwise")(x)
    x = keras.layers.Conv2D(WIDTH, 1, name="project")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, {"logits": keras.layers.Dense(5, name="logits")(x)})
    for name, axis, gain in (("expand", 3, 12), ("depthwise", 2, 3), ("project", 3, 3)):
        layer = model.get_layer(name)
        layer.kernel.assign(gain * uneven(np.asarray(layer.kernel), axis))
    # What comes after needs the small channels as much as the large ones.
    head = model.get_layer("logits")
    head.kernel.assign(uneven(np.asarray(head.kernel)[::-1], 0)[::-1])
    return source_of(model)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 N H W 3."""
    return np.random.default_rng(2).integers(0, 256, (COUNT, *SHAPE), dtype=np.uint8)


def options_of(names: tuple[str, ...] | None = None) -> TfliteOptions:
    return TfliteOptions(
        surgery=find_passes("all,no-equalise-channels") if names is None else names
    )


@pytest.fixture(scope="module")
def record(source, images) -> RangeRecord:
    sample = CalibrationSample({"images": images}, "drawn", "00")
    return calibrate(Format.TFLITE, source, options_of(), sample)


def run(path, images: np.ndarray) -> np.ndarray:
    interpreter = open_interpreter(path)
    interpreter.allocate_tensors()
    (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in images:
        interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
        interpreter.invoke()
        scale, zero = result["quantization"]
        values = interpreter.get_tensor(result["index"]).astype(np.float32)
        found.append((values - zero) * scale if scale else values)
    return np.concatenate(found)


def written(source, record, folder, names=None) -> tuple:
    path = folder / f"{'levelled' if names is None else 'plain'}.tflite"
    found = write_int8(source, options_of(names), record, path)
    found.finish({})
    return path, found.steps


def float_outputs(source, images, folder, change=lambda graph: None) -> np.ndarray:
    graph = float_graph(source, options_of())[0].copy()
    change(graph)
    path = folder / "float.tflite"
    path.write_bytes(graph.to_bytes())
    return run(path, images)


def test_uneven_channels_lose_less_than_half_as_much(source, record, images, tmp_path):
    wanted = float_outputs(source, images, tmp_path)
    errors = []
    for names in (None, PLAIN):
        path, steps = written(source, record, tmp_path, names)
        assert any(step.startswith("level-channels: ") for step in steps) == (names is None)
        errors.append(np.square(run(path, images) - wanted).mean())
    assert errors[0] < errors[1] / 4  # 6 dB


def test_the_levelled_float_graph_computes_the_same_below_six(source, record, images, tmp_path):
    dark = images // 8  # nothing reaches six
    wanted = float_outputs(source, dark, tmp_path)
    found = float_outputs(source, dark, tmp_path, lambda graph: level_channels(graph, record))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_relu6_becomes_the_end_of_a_range(source, record):
    graph = float_graph(source, options_of())[0].copy()
    after, report = level_channels(graph, record)
    assert report.count == 3
    first = next(op for op in graph.operators if graph.kind(op) == "CONV_2D")
    assert activation(first) == RELU
    low, high = after.ranges[graph.name(int(first.outputs[0]))]
    assert (low, high) == pytest.approx((0.0, 6.0), abs=1e-6)


def test_without_channels_in_the_record_nothing_changes(source, record):
    graph = float_graph(source, options_of())[0].copy()
    before = graph.to_bytes()
    bare = dataclasses.replace(record, channels={})
    after, report = level_channels(graph, bare)
    assert (report.count, after, graph.to_bytes()) == (0, bare, before)


def test_names_tell_the_layer_and_that_its_tensor_is_another(source, record, tmp_path):
    path, _ = written(source, record, tmp_path)
    marked = [node for node in read_nodes(path) if is_levelled(node.name)]
    assert {node.layer.rpartition("/")[2] for node in marked} >= {"expand", "depthwise", "project"}
