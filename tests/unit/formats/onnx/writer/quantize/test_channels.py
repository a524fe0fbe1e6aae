"""Channels of very different size keep their precision between convolutions in 8 bits."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.passes.library import infer_shapes
from edgevit.formats.onnx.writer.quantize.channels import choose_levels, correct_bias, scale_weights
from edgevit.formats.onnx.writer.quantize.layers import find_layers
from edgevit.formats.onnx.writer.quantize.ranges import observe
from edgevit.formats.onnx.writer.quantize.static import quantize_static
from edgevit.quantization.levels import weight_levels
from edgevit.quantization.observer import Observer

WIDTH, HEAD = 16, 80  # of blocks, and of what the classifier reads
SIX = {"zero": np.float32(0), "six": np.float32(6)}


def inverted_residuals(graphs, activation: str = "Clip") -> onnx.ModelProto:
    """Two blocks of MobileNetV2 whose channels differ by a factor of up to thirty."""
    g = graphs.Graph([1, 4, 12, 12])
    sizes = np.geomspace(0.05, 1.5, WIDTH).astype(np.float32)
    ends = [g.constant(name, value) for name, value in SIX.items()] if activation == "Clip" else []

    def conv(layer, x, width, inner, window=1, spread=False, **attributes):
        kernel = g.rng.normal(0, 1 / np.sqrt(inner * window**2), (width, inner, window, window))
        kernel = kernel * (np.resize(sizes, width)[:, None, None, None] if spread else 1)
        bias = g.weights(f"{layer}/bias", width, scale=0.1)
        weights = g.constant(f"{layer}/kernel", kernel.astype(np.float32))
        return g.add("Conv", layer, x, weights, bias, **attributes)

    def act(layer, x):
        return g.add(activation, layer, x, *ends)

    x = conv("net/stem", "images", 4, 4)
    for block in ("net/one", "net/two"):
        y = act(f"{block}/a", conv(f"{block}/expand", x, WIDTH, 4, spread=True))
        y = conv(f"{block}/depthwise", y, WIDTH, 1, 3, True, group=WIDTH, pads=[1, 1, 1, 1])
        y = conv(f"{block}/project", act(f"{block}/b", y), 4, WIDTH)
        x = g.add("Add", f"{block}/sum", x, y)
    x = g.add("GlobalAveragePool", "net/pool", conv("net/head", x, HEAD, 4, spread=True))
    return g.model(conv("net/classifier", x, 10, HEAD), [1, 10, 1, 1])


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 1, (24, 4, 12, 12)).astype(np.float32)


def measured(model: onnx.ModelProto, pictures: np.ndarray) -> tuple[dict, dict]:
    found = observe(ir.from_proto(model), {"images": pictures}, {}, Observer())
    ranges = {key: (value.low, value.high) for key, value in found.items()}
    return ranges, {key: v.channels for key, v in found.items() if v.channels is not None}


def noise(found: np.ndarray, expected: np.ndarray) -> float:
    """dB of the signal over what was added to it."""
    signal = np.square(expected - expected.mean(axis=0)).sum()
    return 10 * np.log10(signal / np.square(found - expected).sum())


@pytest.mark.parametrize("activation", ["Relu", "Clip", "HardSwish"])
def test_levels_of_channels_lower_the_noise(graphs, pictures, activation):
    model = inverted_residuals(graphs, activation)
    ranges, channels = measured(model, pictures[:16])
    expected = graphs.run(model, pictures)
    decibels = []
    for known in ({}, channels):
        quantised = onnx.ModelProto.FromString(model.SerializeToString())
        graphs.apply(quantize_static, quantised, ranges, known)
        onnx.checker.check_model(quantised, full_check=True)
        decibels.append(noise(graphs.run(quantised, pictures), expected))
    assert decibels[1] > decibels[0] + 4


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_onnxruntime_runs_every_convolution_in_integers(graphs, pictures, activation, tmp_path):
    model = inverted_residuals(graphs, activation)
    graphs.apply(quantize_static, model, *measured(model, pictures))
    kinds = [node.op_type for node in model.graph.node]
    assert activation not in kinds  # levels end where it does
    assert kinds.count("Add") >= 1  # the residual sum that a convolution alone reads
    fused = graphs.kinds(graphs.optimised_nodes(model, tmp_path))
    assert fused.count("QLinearConv") == 9
    assert "Conv" not in fused


@pytest.mark.parametrize("activation", ["Relu", "HardSwish"])
def test_no_channel_of_activations_has_an_axis_of_its_own(graphs, pictures, activation):
    """onnxruntime's kernel takes tens of times as long with one, channels last."""
    model = inverted_residuals(graphs, activation)
    ranges, channels = measured(model, pictures)
    graphs.apply(quantize_static, model, ranges, channels)
    stored = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    moving = [
        node
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in stored
    ]
    assert {stored[node.input[1]].size for node in moving} == {1}
    divided = [node for node in model.graph.node if node.op_type == "Div"]
    assert any(stored[node.input[1]].size == HEAD for node in divided)


def test_levels_end_where_a_hard_swish_does(graphs, pictures):
    """It is zero below -3, and convolutions in front of it reach further down."""
    model = inverted_residuals(graphs, "HardSwish")
    ranges, channels = measured(model, pictures)
    assert ranges["net/one/depthwise/Conv/out"][0] < -4
    graphs.apply(quantize_static, model, ranges, channels)
    made = {name: node for node in model.graph.node for name in node.output}
    stored = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    entering = [made[node.input[0]] for node in model.graph.node if node.op_type == "HardSwish"]
    assert [node.op_type for node in entering] == ["Mul"] * 4
    for node in entering:  # levels less their zero, times the steps of channels
        steps = stored[node.input[1]].astype(np.float64).reshape(-1)
        before = made[node.input[0]]
        shifted = before.op_type == "Add"
        zeros = -stored[before.input[1]].reshape(-1) if shifted else stored[before.input[2]]
        assert (zeros * steps).max() <= 3 + steps.max() / 2


def test_onnxruntime_still_takes_one_scale_for_granted():
    """One reason why none of activations has an axis. When this fails, onnxruntime was mended."""
    import onnxruntime

    scales = np.array([0.5, 0.25], np.float32)
    constants = {"s": scales, "z": np.zeros(2, np.uint8), "t": np.float32(1), "u": np.uint8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"], axis=1),
        helper.make_node("Add", ["a", "a"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "t", "u"], ["y"]),
    ]
    shape = [1, 2, 3, 3]
    borders = [helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, shape) for n in "xy"]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "sum", borders[:1], borders[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(Exception, match="must be a scalar"):
        onnxruntime.InferenceSession(model.SerializeToString())


def test_a_sum_of_two_tensors_with_steps_for_channels_is_a_sound_graph(graphs, pictures):
    """What enters a Concat twice over is stretched by two products, each under its own name.

    onnxruntime would take a Concat between DequantizeLinear and QuantizeLinear for an integer one.
    """
    g = graphs.Graph([1, 4, 12, 12])
    sizes = np.geomspace(0.05, 1.5, WIDTH).astype(np.float32)

    def conv(layer, x, width, inner, spread=False, **attributes):
        kernel = g.rng.normal(0, 1 / np.sqrt(inner), (width, inner, 1, 1))
        kernel = kernel * (np.resize(sizes, width)[:, None, None, None] if spread else 1)
        weights = g.constant(f"{layer}/kernel", kernel.astype(np.float32))
        return g.add("Conv", layer, x, weights, g.weights(f"{layer}/bias", width), **attributes)

    sides = []
    for side in ("net/a", "net/b"):
        x = g.add("Relu", f"{side}/act", conv(side, "images", HEAD, 4, True))
        sides.append(conv(f"{side}/own", x, HEAD, 1, True, group=HEAD))
    joined = g.add("Concat", "net/joined", *sides, axis=1)
    x = conv("net/last", joined, 10, 2 * HEAD)
    model = g.model(g.add("GlobalAveragePool", "net/pool", x), [1, 10, 1, 1])
    ranges, channels = measured(model, pictures)
    expected = graphs.run(model, pictures)
    graphs.apply(quantize_static, model, ranges, channels)
    onnx.checker.check_model(model, full_check=True)
    assert noise(graphs.run(model, pictures), expected) > 20


def layers_of(graphs, pictures):
    model = inverted_residuals(graphs)
    ranges, channels = measured(model, pictures)
    graph = ir.from_proto(model)
    infer_shapes.run(graph)
    return {layer.key: layer for layer in find_layers(graph)[0]}, ranges, channels


def test_a_depthwise_convolution_lets_channels_go_all_their_way(graphs, pictures):
    layers, ranges, channels = layers_of(graphs, pictures)
    key = "net/one/depthwise/Conv/in"
    depthwise = layers["net/one/depthwise/Conv"]
    levels = choose_levels(*ranges[key], channels[key], [depthwise], one_zero=True)
    known = channels[key]
    spread = np.sqrt(known.squares - np.square(known.means))
    tops = np.minimum(np.maximum(known.highs, known.means + 4 * spread), 6)
    alive = tops > 0.1
    np.testing.assert_allclose(levels.steps[alive] * 255, tops[alive], rtol=0.01)


def test_where_channels_are_alike_they_have_one_scale(graphs, pictures):
    layers, _, channels = layers_of(graphs, pictures)
    key = "net/one/project/Conv/in"
    known = channels[key]
    even = type(known)(known.lows, np.full_like(known.highs, 2), known.means, known.squares)
    levels = choose_levels(0.0, 2.0, even, [layers["net/one/project/Conv"]], one_zero=True)
    assert levels.alike


def test_the_mean_error_of_rounded_weights_is_in_the_bias(graphs, pictures):
    layers, _, channels = layers_of(graphs, pictures)
    layer = layers["net/one/project/Conv"]
    rounded = np.round(layer.weights * 8) / 8
    known = channels["net/one/project/Conv/in"]
    bias = correct_bias(layer, layer.weights, rounded, layer.bias, None, known)
    exact = layer.weights[:, :, 0, 0] @ known.means + layer.bias
    np.testing.assert_allclose(rounded[:, :, 0, 0] @ known.means + bias, exact, rtol=1e-4)


def test_the_border_of_an_image_meets_fewer_weights(graphs, pictures):
    layers, _, _ = layers_of(graphs, pictures)
    share = 11 / 12
    expected = np.outer([share, 1, share], [share, 1, share])
    np.testing.assert_allclose(layers["net/one/depthwise/Conv"].coverage, expected)


def test_convolutions_that_may_saturate_without_vnni_are_counted(graphs, pictures):
    plain, paired = (inverted_residuals(graphs) for _ in range(2))
    known = measured(plain, pictures)
    steps, caveats = graphs.apply(quantize_static, plain, *known)
    assert caveats
    assert set(caveats) < set(steps)
    # Of nine, two are depthwise and add nothing in 16 bits.
    counted = int(re.search(r"saturate in (\d) convolution", caveats[0])[1])
    assert 1 <= counted <= 7
    assert graphs.apply(quantize_static, paired, *known, True)[1] == ()


def test_paired_weights_saturate_nowhere_within_the_ranges(graphs, pictures):
    layers, ranges, channels = layers_of(graphs, pictures)
    for key in ("net/one/project/Conv", "net/two/expand/Conv"):
        layer, known = layers[key], channels[f"{key}/in"]
        levels = choose_levels(*ranges[f"{key}/in"], known, [layer], False, paired=True)
        scales = scale_weights(layer, layer.rows, None, levels, known, paired=True)
        stored = weight_levels(layer.rows, scales).astype(np.int64)
        tops = np.clip(np.rint(known.highs / levels.steps + levels.zeros), 0, 255).astype(np.int64)
        products = stored * tops
        assert np.abs(products[:, 0::2] + products[:, 1::2]).max() <= 32767


def test_channels_that_a_dense_layer_reads_have_one_scale(graphs, pictures):
    g = graphs.Graph([1, 4, 12, 12])
    x = g.add("Conv", "net/conv", "images", g.weights("w", 8, 4, 1, 1))
    flat = g.reshape("net/flat", x, 1, 1152)
    model = g.model(g.dense("net/fc", flat, 1152, 10), [1, 10])
    graphs.apply(quantize_static, model, *measured(model, pictures))
    assert np.isfinite(graphs.run(model, pictures)).all()


def test_ranges_of_before_an_activation_are_of_another_graph(graphs, pictures):
    """They reach below zero, where levels that end at the activation do not."""
    model = inverted_residuals(graphs, "Relu")
    ranges, channels = measured(model, pictures)
    earlier = {key.replace("/activated", "/out"): pair for key, pair in ranges.items()}
    assert earlier.keys() != ranges.keys()
    with pytest.raises(ExportError, match="belongs to another graph"):
        graphs.apply(quantize_static, model, earlier, channels)
