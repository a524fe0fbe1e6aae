"""Files of mixed precisions: where conversions stand, what is stored, and what comes out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgevit.base.errors import ExportError
from edgevit.core.target import Precision
from edgevit.formats.tflite.runtime.file import op_names, parse_model, tensor_type
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.expand_gelu import expand_gelu
from edgevit.formats.tflite.writer.quantize.expand_hard_swish import expand_hard_swish
from edgevit.formats.tflite.writer.quantize.set_precisions import set_precisions
from edgevit.quantization.levels import channel_scales, pack_4bit

F, D, I = Precision.FLOAT32, Precision.DYNAMIC, Precision.INT8  # noqa: E741
IMAGES = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 3)).round().astype(np.float32)


@pytest.fixture(scope="module")
def graph(convert_tflite) -> bytes:
    """Convolution, a constant token joined to patches, softmax, GELU, a sum."""
    import tensorflow as tf

    rng = np.random.default_rng(1)

    def weights(*shape):
        return tf.constant(rng.normal(0, 0.3, shape), tf.float32)

    kernel, token = weights(2, 2, 3, 32), weights(1, 1, 32)
    wide, back, head = weights(32, 64), weights(64, 32), weights(32, 10)

    def forward(images):
        x = tf.nn.conv2d(images / 255.0, kernel, 2, "VALID")
        x = tf.concat([token, tf.reshape(x, (1, 16, 32))], 1)
        gates = tf.nn.softmax(x)
        hidden = tf.nn.gelu(tf.reshape(x, (17, 32)) @ wide)
        y = tf.reshape(hidden @ back, (1, 17, 32)) + x * gates
        return {"logits": tf.reduce_mean(y, 1) @ head + 0.1}

    return convert_tflite(forward, (1, 8, 8, 3))


@pytest.fixture(scope="module")
def ranges(graph, measure_ranges) -> dict:
    return measure_ranges(TfliteGraph(graph), IMAGES)


@pytest.fixture
def run(run_tflite):
    """A function (file, kernels) -> float logits of IMAGES."""
    return lambda data, kernels="xnnpack": run_tflite(data, IMAGES, kernels, real=True)


def write(graph: bytes, ranges: dict, precisions: list[Precision], *options, **more) -> bytes:
    """The file with a precision for every operator."""
    opened = TfliteGraph(graph)
    set_precisions(opened, ranges, precisions, *options, **more)
    return opened.to_bytes()


def kinds_of(data: bytes) -> list[str]:
    return op_names(parse_model(data, "net"))[0]


def by_kind(graph: bytes, **wanted: Precision) -> list[Precision]:
    return [wanted.get(kind, F) for kind in kinds_of(graph)]


def error(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(values - expected).mean() / expected.std())


def test_all_float_is_the_same_file_in_effect(graph, ranges, run):
    written = write(graph, {}, by_kind(graph))
    assert kinds_of(written) == kinds_of(graph)
    np.testing.assert_array_equal(run(written), run(graph))


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_all_int8_has_one_conversion_in_and_one_out(graph, ranges, run, kernels):
    written = write(graph, ranges, [I] * len(kinds_of(graph)))
    counts = Counter(kinds_of(written))
    assert (counts["QUANTIZE"], counts["DEQUANTIZE"]) in ((1, 1), (2, 1))  # softmax's own scale
    model = parse_model(written, "net")
    floats = [t for t in model.subgraphs[0].tensors if tensor_type(t) == "float32"]
    assert len(floats) == 2
    assert error(run(written, kernels), run(graph)) < 0.1


def test_raw_bytes_enter_an_int8_graph_without_a_float(graph, ranges, run):
    raw = {**ranges, next(iter(ranges)): (0.0, 255.0)}
    first = kinds_of(graph)[0]
    written = write(graph, raw, [I] * len(kinds_of(graph)), ["images"])
    assert "CAST" not in kinds_of(written)
    model = parse_model(written, "net")
    assert tensor_type(model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]) == "uint8"
    assert error(run(written), run(graph)) < 0.1
    in_float = write(graph, raw, by_kind(graph), ["images"])
    assert kinds_of(in_float)[:2] == ["CAST", first]
    np.testing.assert_array_equal(run(in_float), run(graph))


def test_only_weighted_int8_converts_around_each_and_once_a_tensor(graph, ranges, run):
    wanted = by_kind(graph, CONV_2D=I, FULLY_CONNECTED=I)
    written = write(graph, ranges, wanted)
    counts = Counter(kinds_of(written))
    weighted = sum(p is I for p in wanted)
    assert counts["QUANTIZE"] == counts["DEQUANTIZE"] == weighted
    assert error(run(written), run(graph)) < 0.05
    assert len(written) < 0.6 * len(graph)  # float weights are gone


def test_a_tensor_that_several_read_is_converted_once(graph, ranges, run):
    one = write(graph, ranges, by_kind(graph, CONCATENATION=I))  # three read it in float
    counts = Counter(kinds_of(one))
    assert (counts["QUANTIZE"], counts["DEQUANTIZE"]) == (1, 1)
    two = write(graph, ranges, by_kind(graph, SOFTMAX=I, MUL=I))  # both read it in int8
    (subgraph,) = parse_model(two, "net").subgraphs
    pairs = zip(subgraph.operators, kinds_of(two), strict=True)
    quantised = [int(operator.inputs[0]) for operator, kind in pairs if kind == "QUANTIZE"]
    assert len(quantised) == len(set(quantised)) > 0
    for written in (one, two):
        assert error(run(written), run(graph)) < 0.05


def test_dynamic_weights_need_no_ranges(graph, run):
    written = write(graph, {}, by_kind(graph, FULLY_CONNECTED=D, CONV_2D=D))
    assert kinds_of(written) == kinds_of(graph)
    assert 0 < error(run(written), run(graph)) < 0.05
    assert error(run(written, "reference"), run(graph)) < 0.05


def test_four_bit_weights_are_half_of_eight(graph, run):
    eight = write(graph, {}, by_kind(graph, FULLY_CONNECTED=D))
    four = write(graph, {}, by_kind(graph, FULLY_CONNECTED=Precision.DYNAMIC_INT4))
    saved = 2 * 32 * 64 / 2  # bytes: two matrices; the head is too small to be worth it
    assert len(eight) - len(four) == pytest.approx(saved, abs=64)
    for kernels in ("xnnpack", "reference"):
        assert 0.01 < error(run(four, kernels), run(graph)) < 0.5


def test_four_bit_levels_go_two_a_byte_the_first_below():
    packed = pack_4bit(np.array([[1, -1], [-7, 7], [3, 0]], np.int8)[:, :2])
    np.testing.assert_array_equal(packed, [0xF1, 0x79, 0x03])
    np.testing.assert_array_equal(pack_4bit(np.array([5], np.int8)), [0x05])


def test_int16_is_integers_throughout_and_much_closer_than_int8(graph, ranges, run):
    opened = TfliteGraph(graph)
    known = expand_gelu(opened, ranges)
    plain = opened.to_bytes()
    assert "GELU" not in kinds_of(plain)
    assert error(run(plain), run(graph)) < 2e-3
    wanted = [Precision.INT16X8] * len(kinds_of(plain))
    written = write(plain, known, wanted, float_outputs=False)
    model = parse_model(written, "net")
    types = Counter(tensor_type(tensor) for tensor in model.subgraphs[0].tensors)
    assert types["float32"] == 0
    assert types["int16"] > 10
    assert error(run(written), run(graph)) < 0.02


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_int16_adds_what_has_a_larger_scale_than_the_sum(kernels, convert_tflite, run_tflite):
    def signed(x):
        return x * 2.0 - 1.0

    plain = convert_tflite(signed, (1, 4, 4, 3))
    opened = TfliteGraph(plain)
    names = [name for _, name in opened.activations()]
    ranges = {name: (-1.0, 1.0) for name in names} | {names[0]: (0.0, 1.0), names[1]: (0.0, 2.0)}
    assert opened.kinds in (["MUL", "ADD"], ["MUL", "SUB"])
    written = write(plain, ranges, [Precision.INT16X8] * 2, float_outputs=True)
    x = np.random.default_rng(0).uniform(0, 1, (8, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(run_tflite(written, x, kernels), signed(x), atol=2e-3)


def nearest(x):
    import tensorflow as tf

    return tf.image.resize(x, (7, 9), "nearest")


def transposed(x):
    import tensorflow as tf

    weights = np.random.default_rng(3).normal(0, 0.2, (3, 3, 5, 4)).astype(np.float32)
    bias = np.linspace(-0.5, 0.5, 5, dtype=np.float32)
    y = tf.nn.conv2d_transpose(x, weights, (x.shape[0], 10, 12, 5), 2)
    return tf.nn.relu(tf.nn.bias_add(y, bias))


def operators_of_int16():
    """By name: a function of x that ends in the operator."""
    import tensorflow as tf

    return {
        "ABS": tf.abs,
        "HARD_SWISH": lambda x: x * tf.nn.relu6(x + 3) / 6,
        "LEAKY_RELU": lambda x: tf.nn.leaky_relu(x, 0.1),
        "MAXIMUM": lambda x: tf.maximum(x, 0.3),
        "MINIMUM": lambda x: tf.minimum(x, 0.3 * x + 0.1),
        "REDUCE_MAX": lambda x: tf.reduce_max(x, (1, 2)),
        "RESIZE_NEAREST_NEIGHBOR": nearest,
        "TRANSPOSE_CONV": transposed,
        "REVERSE_V2": lambda x: tf.reverse(x, (1,)),
    }


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
@pytest.mark.parametrize("kind", operators_of_int16())
def test_an_operator_computes_in_int16(kind, kernels, convert_tflite, run_tflite, measure_ranges):
    function = operators_of_int16()[kind]
    plain = convert_tflite(function, (1, 5, 6, 4), "x")
    assert kind in kinds_of(plain)
    x = np.random.default_rng(0).normal(0, 2, (16, 5, 6, 4)).astype(np.float32)
    opened = TfliteGraph(plain)
    ranges = expand_hard_swish(opened, measure_ranges(opened, {"x": x}))
    set_precisions(opened, ranges, [Precision.INT16X8] * len(opened.operators))
    written = opened.to_bytes()
    assert kinds_of(written).count("QUANTIZE") == kinds_of(written).count("DEQUANTIZE") == 1
    wanted = np.asarray(function(x))
    rounded = 0.06 if kind == "TRANSPOSE_CONV" else 3e-3  # 8 bits a weight
    np.testing.assert_allclose(run_tflite(written, x, kernels), wanted, atol=rounded)


def test_a_bound_far_beyond_what_it_bounds_takes_no_levels(
    convert_tflite, run_tflite, measure_ranges
):
    import tensorflow as tf

    plain = convert_tflite(lambda x: tf.minimum(x, 1e6), (1, 8), "x")
    x = np.random.default_rng(0).normal(0, 1, (16, 8)).astype(np.float32)
    ranges = measure_ranges(TfliteGraph(plain), {"x": x})
    written = write(plain, ranges, [Precision.INT16X8])
    np.testing.assert_allclose(run_tflite(written, x), x, atol=1e-3)


def test_a_kernel_that_is_missing_is_named_with_its_layer(graph, ranges):
    wanted = [Precision.INT16X8] * len(kinds_of(graph))
    with pytest.raises(ExportError, match=r"GELU of layer .* no kernel for int16"):
        write(graph, ranges, wanted)
    with pytest.raises(ExportError, match="ADD has no kernel with integer weights"):
        write(graph, ranges, by_kind(graph, ADD=D))


def test_a_missing_range_is_an_error(graph, ranges):
    short = dict(list(ranges.items())[:2])
    with pytest.raises(ExportError, match="no range for"):
        write(graph, short, by_kind(graph, FULLY_CONNECTED=I))


def test_a_channel_of_zeros_has_a_scale_too():
    scales = channel_scales(np.array([[0.0, 0.0], [1.0, -2.0]]))
    assert (scales > 0).all()
    np.testing.assert_allclose(scales[1], 2 / 127, rtol=1e-6)
    assert (channel_scales(np.zeros((2, 2))) > 0).all()
