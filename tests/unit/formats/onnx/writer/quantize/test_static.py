"""Static int8 ONNX: the layers with weights become integer kernels, everything else stays float."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from edgevit.base.errors import ConfigError, ExportError
from edgevit.formats.onnx.writer.names import make_names_canonical
from edgevit.formats.onnx.writer.passes.fuse_dense import fuse_dense
from edgevit.formats.onnx.writer.passes.library import infer_shapes
from edgevit.formats.onnx.writer.quantize.layers import find_layers
from edgevit.formats.onnx.writer.quantize.ranges import observe
from edgevit.formats.onnx.writer.quantize.static import quantize_static
from edgevit.formats.passes import run_passes
from edgevit.quantization.observer import Observer

EXTREMES = np.stack([np.zeros((3, 8, 8), np.float32), np.ones((3, 8, 8), np.float32)])
WEIGHTED = {
    *("net/patches/Conv", "net/depthwise/Conv", "net/project/Dense", "net/expand/Dense"),
    *("net/attention/q/Dense", "net/attention/k/Dense", "net/attention/v/Dense"),
    *("net/attention/project/Dense", "net/classifier/Dense"),
}


def measure(model: ir.Model, inputs: dict, extremes: dict, progress=None):
    """Smallest and largest value of everything that is watched."""
    found = observe(model, inputs, extremes, Observer(), progress)
    return {key: (value.low, value.high) for key, value in found.items()}


def measure_images(model: ir.Model, images: np.ndarray, extremes: np.ndarray, progress=None):
    """Ranges of a model whose only input is called so."""
    return measure(model, {"images": images}, {"images": extremes}, progress)


@pytest.fixture(scope="module")
def ranges(graphs, images) -> dict:
    return measure_images(ir.from_proto(graphs.transformer_block()), images, EXTREMES)


@pytest.fixture
def quantized(graphs, block, ranges) -> onnx.ModelProto:
    graphs.apply(quantize_static, block, ranges)
    onnx.checker.check_model(block, full_check=True)
    return block


def producers(model) -> dict:
    return {name: node for node in model.graph.node for name in node.output}


def test_the_layers_are_found_under_the_names_of_their_keras_layers(block):
    layers, declined = find_layers(ir.from_proto(block))
    assert {layer.key for layer in layers} == WEIGHTED
    assert declined == []


def test_a_dense_layer_has_one_name_whether_it_became_gemm_or_matmul(graphs):
    for kind, name in (("Gemm", "net/fc"), ("MatMul", "net/fc/Tensordot")):
        g = graphs.Graph([4, 8])
        model = g.model(g.add(kind, name, "images", g.weights("w", 8, 8)), [4, 8])
        assert [layer.key for layer in find_layers(ir.from_proto(model))[0]] == ["net/fc/Dense"]


def test_quantised_logits_are_near_the_float_ones(graphs, quantized, images):
    expected = graphs.run(graphs.transformer_block(), images)
    difference = np.abs(graphs.run(quantized, images) - expected)
    assert 0 < difference.mean() / expected.std() < 0.03


def test_onnxruntime_fuses_every_layer_to_an_integer_kernel(graphs, quantized, tmp_path):
    found = graphs.kinds(graphs.optimised_nodes(quantized, tmp_path))
    assert found.count("QLinearConv") == 2
    assert found.count("QGemm") == 7
    assert found.count("MatMul") + found.count("FusedMatMul") == 2  # attention's own products
    assert "Gemm" not in found
    assert "Conv" not in found


def dense_on_axes(graphs, bias=True, batch=1, shape=(8,)) -> onnx.ModelProto:
    """MatMul on three axes and the Add of a bias, as tf2onnx writes a Dense layer."""
    g = graphs.Graph([batch, 4, 6])
    x = g.add("MatMul", "net/fc", "images", g.weights("w", 6, 8))
    if bias:
        x = g.add("Add", "net/fc", x, g.weights("b", *shape))
    return g.model(x, [batch, 4, 8])


def quantize_rewritten(graphs, model) -> None:
    """Static int8 of a model whose products became Gemms, as in an export."""
    graphs.apply(run_passes, model, (infer_shapes, fuse_dense))
    graphs.apply(make_names_canonical, model)
    graphs.apply(quantize_static, model, measure_rows(model))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("batch", [1, "B"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(8,), (1, 1, 8)])
def test_a_dense_layer_on_more_axes_is_one_integer_kernel(graphs, tmp_path, batch, bias, shape):
    model = dense_on_axes(graphs, bias, batch, shape)
    images = np.random.default_rng(0).normal(size=(1 if batch == 1 else 3, 4, 6)).astype("f4")
    expected = graphs.open_session(model).run(None, {"images": images})[0]
    quantize_rewritten(graphs, model)
    assert graphs.kinds(model.graph.node).count("Add") == 0
    found = graphs.open_session(model).run(None, {"images": images})[0]
    assert np.abs(found - expected).mean() < 0.1 * expected.std()
    assert "QGemm" in graphs.kinds(graphs.optimised_nodes(model, tmp_path))


def test_a_product_that_no_pass_rewrote_is_an_integer_kernel_too(graphs, tmp_path):
    model = dense_on_axes(graphs, bias=False)
    graphs.apply(quantize_static, model, measure_rows(model))
    assert "MatMulIntegerToFloat" in graphs.kinds(graphs.optimised_nodes(model, tmp_path))


@pytest.mark.parametrize("shape", [(4, 8), (4, 1)])
def test_a_sum_that_is_no_bias_is_not_taken_for_one(graphs, shape):
    model = dense_on_axes(graphs, shape=shape)
    quantize_rewritten(graphs, model)
    assert graphs.kinds(model.graph.node).count("Add") == 1


def test_a_product_that_others_read_too_keeps_its_sum(graphs):
    g = graphs.Graph([4, 6])
    x = g.add("MatMul", "net/fc", "images", g.weights("w", 6, 8))
    y = g.add("Add", "net/fc", x, g.weights("b", 8))
    model = g.model(g.add("Mul", "net/product", x, y), [4, 8])
    quantize_rewritten(graphs, model)
    assert graphs.kinds(model.graph.node).count("Add") == 1


def test_everything_between_the_layers_stays_float(quantized):
    made_by = producers(quantized)
    for node in quantized.graph.node:
        if node.op_type in ("Softmax", "Gelu", "Add", "LayerNormalization"):
            sources = {made_by[name].op_type for name in node.input if name in made_by}
            assert "DequantizeLinear" not in sources, node.name


def test_an_input_that_several_layers_share_is_quantised_once(quantized):
    entering = [
        node.input[0]
        for node in quantized.graph.node
        if node.op_type == "Gemm" and node.name.split("/")[2] in "qkv"
    ]
    assert len(entering) == 3
    assert len(set(entering)) == 1


def test_weights_are_int8_a_channel_and_biases_int32_in_products_of_scales(quantized, block):
    constants = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    made_by = producers(quantized)
    for node in quantized.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3:
            continue
        entering, weights, bias = (made_by[name] for name in node.input)
        levels, scales, zeros = (constants[name] for name in weights.input)
        axis = helper.get_attribute_value(weights.attribute[0])
        assert levels.dtype == np.int8
        assert len(scales) == levels.shape[axis] == 10 or len(scales) in (32, 64)
        assert not zeros.any()
        assert constants[bias.input[0]].dtype == np.int32
        np.testing.assert_allclose(
            constants[bias.input[1]], constants[entering.input[1]] * scales, rtol=1e-6
        )


def test_no_float_weights_are_left_in_the_file(quantized, graphs):
    before = {t.name: t for t in graphs.transformer_block().graph.initializer}
    kernels = [name for name in before if name.endswith("/kernel")]
    after = {t.name for t in quantized.graph.initializer}
    assert len(kernels) == 9
    assert after.isdisjoint(kernels)


def test_layers_that_share_weights_share_their_levels(graphs):
    g = graphs.Graph([4, 8])
    kernel = g.weights("kernel", 8, 8)
    x = g.add("MatMul", "net/first", "images", kernel)
    model = g.model(g.add("MatMul", "net/second", x, kernel), [4, 8])
    graphs.apply(quantize_static, model, measure_rows(model))
    stored = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert [t.dims for t in stored if len(t.dims) == 2] == [[8, 8]]


def measure_rows(model) -> dict:
    """Ranges that are wide enough for every graph here."""
    layers, _ = find_layers(ir.from_proto(model))
    found = {}
    for layer in layers:
        for side in ("in", "out"):
            found[f"{layer.key}/{side}"] = (-8.0, 8.0)
        found[f"{layer.key}/weights"] = float(layer.weights.min()), float(layer.weights.max())
    return found


@pytest.mark.parametrize("trap", ["transA", "alpha", "computed bias", "bias a row", "rank"])
def test_a_layer_that_does_not_fit_is_left_in_float_and_named(graphs, trap):
    g = graphs.Graph([4, 4])
    kernel, extra = g.weights("kernel", 4, 4), {}
    bias = g.weights("bias", 4)
    if trap == "transA":
        extra = {"transA": 1}
    elif trap == "alpha":
        extra = {"alpha": 0.5}
    elif trap == "computed bias":
        bias = "images"
    elif trap == "bias a row":
        bias = g.weights("square", 4, 4)
    if trap == "rank":
        y = g.add("MatMul", "net/odd", "images", g.weights("cube", 1, 4, 4))
        y = g.reshape("net/odd/flat", y, 4, 4)
    else:
        y = g.add("Gemm", "net/odd", "images", kernel, bias, **extra)
    model = g.model(g.dense("net/plain", y, 4, 2), [4, 2])
    batch = np.random.default_rng(1).normal(size=(6, 4, 4)).astype(np.float32)
    session = graphs.open_session(model)
    expected = np.stack([session.run(None, {"images": x})[0] for x in batch])
    steps, _ = graphs.apply(quantize_static, model, measure_rows(model))
    assert any(line.startswith("left in float32: net/odd/") for line in steps)
    session = graphs.open_session(model)
    found = np.stack([session.run(None, {"images": x})[0] for x in batch])
    assert np.abs(found - expected).mean() < 0.1 * expected.std()


@pytest.mark.parametrize(("channels", "light"), [(16, True), (64, True), (65, False)])
def test_a_last_convolution_of_few_products_stays_float(graphs, channels, light):
    """Integers would be made of what enters and leaves it, for the sake of those."""
    g = graphs.Graph([1, 4, 6, 6])
    x = g.add("Conv", "net/body", "images", g.weights("k", channels, 4, 1, 1))
    x = g.add("Conv", "net/mask", g.add("Relu", "net/act", x), g.weights("m", 5, channels, 1, 1))
    model = g.model(g.add("Sigmoid", "net/scores", x), [1, 5, 6, 6])
    batch = np.random.default_rng(1).normal(size=(6, 1, 4, 6, 6)).astype(np.float32)
    ranges = measure(ir.from_proto(model), {"images": batch[:, 0]}, {})
    steps, _ = graphs.apply(quantize_static, model, ranges)
    assert any("few products" in line and "net/mask" in line for line in steps) is light
    assert any("net/body" in line for line in steps) is False
    *_, mask = (node for node in model.graph.node if node.op_type == "Conv")
    stored = {array.name for array in model.graph.initializer}
    assert (mask.input[1] in stored) is light


@pytest.mark.parametrize(
    ("before", "after", "side", "light"),
    [
        ("swish", "swish", 6, True),
        ("swish", "swish", 3, False),  # one pixel: weights are most of what is read
        ("swish", "Relu", 6, False),  # what it returns is read as integers
        ("Relu", "swish", 6, False),  # what enters it are integers already
        ("Relu", "Relu", 6, False),
    ],
)
def test_a_convolution_of_few_products_between_floats_stays_float(
    graphs, before, after, side, light
):
    """Both sides of a depthwise convolution are rounded for nine products a number else."""
    g = graphs.Graph([1, 72, side, side])

    def activate(name, kind, x):
        if kind == "swish":
            return g.add("Mul", f"{name}/swish", x, g.add("Sigmoid", f"{name}/sigmoid", x))
        return g.add(kind, f"{name}/act", x)

    x = g.add("Conv", "net/expand", "images", g.weights("k", 72, 72, 1, 1))
    x = activate("net/a", before, x)
    x = g.add("Conv", "net/each", x, g.weights("d", 72, 1, 3, 3), group=72)
    x = g.add("Conv", "net/project", activate("net/b", after, x), g.weights("m", 5, 72, 1, 1))
    model = g.model(g.add("Sigmoid", "net/scores", x), [1, 5, side - 2, side - 2])
    model = onnx.shape_inference.infer_shapes(model)
    batch = np.random.default_rng(1).normal(size=(6, 72, side, side)).astype(np.float32)
    steps, _ = graphs.apply(
        quantize_static, model, measure(ir.from_proto(model), {"images": batch}, {})
    )
    left = [line for line in steps if "few products" in line]
    assert any("net/each" in line for line in left) is light
    assert not any(name in line for line in left for name in ("net/expand", "net/project"))
    (each,) = (n for n in model.graph.node if n.op_type == "Conv" and "net/each" in n.name)
    stored = {array.name for array in model.graph.initializer}
    assert (each.input[1] in stored) is light


def test_a_graph_without_weights_is_refused(graphs):
    g = graphs.Graph([4, 4])
    with pytest.raises(ExportError, match="no Gemm, MatMul or Conv"):
        graphs.apply(quantize_static, g.model(g.add("Relu", "net", "images"), [4, 4]), {})


def test_ranges_without_one_of_the_layers_are_refused(graphs, block, ranges):
    partial = {key: pair for key, pair in ranges.items() if key != "net/expand/Dense/in"}
    with pytest.raises(ExportError, match=r"net/expand/Dense/in.*--calibration PATH"):
        graphs.apply(quantize_static, block, partial)


def test_ranges_of_a_graph_with_other_weights_are_refused(graphs, block, ranges):
    tensor = next(t for t in block.graph.initializer if t.name == "net/expand/kernel")
    doubled = numpy_helper.to_array(tensor) * 2  # as if a factor had been folded into it
    tensor.CopyFrom(numpy_helper.from_array(doubled, tensor.name))
    with pytest.raises(ExportError, match=r"other weights of 'net/expand/Dense'.*--calibration"):
        graphs.apply(quantize_static, block, ranges)


def test_the_order_of_the_images_does_not_matter(block, images, ranges):
    assert measure_images(ir.from_proto(block), images[::-1], EXTREMES) == ranges
    assert measure_images(ir.from_proto(block), images[:3], EXTREMES) != ranges


def test_the_extreme_images_count_for_what_sees_the_image_and_for_nothing_else(block, images):
    grey = images * 0.1 + 0.4
    narrow, wide = (
        measure_images(ir.from_proto(block), grey, grey[:2]),
        measure_images(ir.from_proto(block), grey, EXTREMES),
    )
    assert wide["net/patches/Conv/in"] == (0.0, 1.0)
    assert narrow["net/patches/Conv/in"] != (0.0, 1.0)
    del narrow["net/patches/Conv/in"], wide["net/patches/Conv/in"]
    assert narrow == wide


def test_without_pictures_there_are_no_extremes(block, images):
    inputs = {"images": images}
    found = measure(ir.from_proto(block), inputs, {})
    assert found == measure(ir.from_proto(block), inputs, {"images": images[:1]})


def test_no_images_and_values_that_are_not_finite_are_refused(block, images):
    with pytest.raises(ConfigError, match="at least one image"):
        measure_images(ir.from_proto(block), images[:0], EXTREMES)
    broken = images.copy()
    broken[7, 0, 0, 0] = np.nan
    with pytest.raises(ExportError, match="is not finite on the calibration images"):
        measure_images(ir.from_proto(block), broken, EXTREMES)


def test_progress_counts_the_images(block, images):
    calls = []
    measure_images(
        ir.from_proto(block), images[:3], EXTREMES, lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_weights_at_their_limit_give_what_integers_give(graphs):
    """On processors that add pairs of products in 16 bits, plain 8-bit weights would saturate."""
    g = graphs.Graph([1, 64])
    model = g.model(
        g.add("Gemm", "net/fc", "images", g.constant("w", np.ones((64, 16), np.float32))), [1, 16]
    )
    ranges = {"net/fc/Dense/in": (0.0, 1.0), "net/fc/Dense/weights": (1.0, 1.0)}
    graphs.apply(quantize_static, model, ranges)
    bright = np.ones((1, 64), np.float32)
    found = graphs.open_session(model).run(None, {"images": bright})[0]
    np.testing.assert_allclose(found, 64.0, rtol=0.01)
