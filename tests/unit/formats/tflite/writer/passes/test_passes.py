"""Every pass leaves what the float network returns, whatever its weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import UnknownNameError  # noqa: E402
from edgevit.core.tensors import Preprocess  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.formats.tflite.runtime.file import parse_model  # noqa: E402
from edgevit.formats.tflite.runtime.litert import open_interpreter  # noqa: E402
from edgevit.formats.tflite.runtime.nodes import list_nodes  # noqa: E402
from edgevit.formats.tflite.writer.convert import float_graph  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.passes import (  # noqa: E402
    DEFAULT_PASSES,
    PASSES,
    find_passes,
    run_passes,
)
from edgevit.formats.tflite.writer.passes.attend_through_tokens import (  # noqa: E402
    attend_through_tokens,
)
from edgevit.formats.tflite.writer.passes.fold_affine import fold_affine  # noqa: E402
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.layers.attention import TokenAttention  # noqa: E402
from edgevit.models import MODELS  # noqa: E402
from edgevit.models.build import build, import_architecture  # noqa: E402
from helpers import sources  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)

SMALL = {name: import_architecture(spec).TINY for name, spec in MODELS.items()}
SMALL["shiftvit"] = {**SMALL["shiftvit"], "image_size": 24, "depths": (1, 1, 1)}


def source_of(network, **contract) -> Source:
    rows, columns = network.inputs[0].shape[1:3]
    return sources.source_of(network, Preprocess((rows, columns), (rows, columns), **contract))


def randomised(network):
    """A network whose weights are none that a trained or fresh one would have."""
    rng = np.random.default_rng(5)
    weights = []
    for variable in network.weights:
        shape = tuple(variable.shape)
        fan = np.prod(shape[:-1], dtype=int) or 1
        value = rng.normal(0.0, fan**-0.5 if len(shape) > 1 else 0.5, shape)
        if variable.path.endswith("gamma"):
            value = rng.uniform(0.2, 3.0, shape) * rng.choice([-1, 1], shape)
        if "variance" in variable.path:
            value = np.abs(value) + 1
        weights.append(value)
    network.set_weights(weights)
    return network


def run(graph: bytes, image: np.ndarray, place) -> dict[str, np.ndarray]:
    path = place / "graph.tflite"
    path.write_bytes(graph)
    interpreter = open_interpreter(path)
    signature = interpreter.get_signature_runner("serving_default")
    return signature(images=image)


def kinds(graph: bytes) -> list[str]:
    opened = TfliteGraph(graph)
    return [opened.kind(operator) for operator in opened.operators]


def rewrite(graph: bytes, names: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """(the rewritten file, lines for the manifest)."""
    opened = TfliteGraph(graph)
    lines = run_passes(opened, names)
    return opened.to_bytes(), lines


def assert_equal(before: bytes, after: bytes, shape, tmp_path) -> None:
    image = np.random.default_rng(1).uniform(0, 255, (1, *shape)).astype(np.float32)
    expected, found = run(before, image, tmp_path), run(after, image, tmp_path)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert np.abs(value - found[name]).max() <= 1e-5 * np.abs(value).max(), name


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    """The float graph of each small network, after no step but the form of the norms."""
    found = {}
    for name, sizes in SMALL.items():
        network = randomised(build(name, **sizes))
        options = TfliteOptions(surgery=("centre-norms",))
        found[name] = float_graph(source_of(network), options)[0].to_bytes()
    return found


@pytest.mark.parametrize("step", list(PASSES))
@pytest.mark.parametrize("name", SMALL)
def test_a_pass_leaves_what_the_network_returns(graphs, name, step, tmp_path):
    after, _ = rewrite(graphs[name], (step,))
    shape = TfliteGraph(graphs[name]).shape(0)[1:]
    assert_equal(graphs[name], after, shape, tmp_path)


@pytest.mark.parametrize("name", SMALL)
def test_all_passes_together_leave_what_the_network_returns(graphs, name, tmp_path):
    after, _ = rewrite(graphs[name], find_passes("all"))
    assert_equal(graphs[name], after, TfliteGraph(graphs[name]).shape(0)[1:], tmp_path)


def test_gamma_and_beta_leave_every_norm_of_shiftvit_that_no_padding_follows(graphs):
    before, after = kinds(graphs["shiftvit"]), kinds(rewrite(graphs["shiftvit"], DEFAULT_PASSES)[0])
    # Three blocks and two merges. The second merge pads its 3x3 tokens to 4x4, so its beta, and
    # with it gamma, stay.
    assert before.count("RSQRT") == after.count("RSQRT") == 5
    assert before.count("MUL") - after.count("MUL") == 4
    assert before.count("ADD") - after.count("ADD") == 4
    assert len(before) - len(after) == 8


def test_passes_are_told_in_the_manifest_with_how_often_they_did_something(graphs):
    _, lines = rewrite(graphs["shiftvit"], DEFAULT_PASSES)
    assert lines == ("fold-affine: 8",)


def small_net(build_layers, shape=(8, 8, 3)) -> bytes:
    images = keras.Input(shape, name="images")
    network = randomised(keras.Model(images, {"logits": build_layers(images)}))
    options = TfliteOptions(preprocess=False, surgery=("centre-norms",))
    return float_graph(source_of(network), options)[0].to_bytes()


def test_a_norm_that_something_else_reads_too_stays(tmp_path):
    def layers(x):
        y = keras.layers.LayerNormalization(name="norm")(x)
        return keras.layers.Flatten()(keras.layers.Conv2D(3, 1)(y) + y)

    graph = small_net(layers)
    opened = TfliteGraph(graph)
    changes = fold_affine(opened)
    assert changes.count == 0
    reasons = {reason for name, reason in changes.skipped if "norm" in name}
    assert any("ADD" in reason for reason in reasons)


def test_gamma_stays_where_a_padded_convolution_needs_beta(tmp_path):
    def layers(x):
        y = keras.layers.LayerNormalization(name="norm")(x)
        return keras.layers.Flatten()(keras.layers.Conv2D(4, 3, padding="same")(y))

    graph = small_net(layers)
    changes = fold_affine(TfliteGraph(graph))
    assert changes.count == 0
    assert "a convolution pads zeros onto it" in {reason for _, reason in changes.skipped}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", [keras.layers.Conv2D, keras.layers.DepthwiseConv2D])
def test_scale_and_offset_fold_into_convolutions_of_any_form(kind, padding, stride, tmp_path):
    arguments = {"padding": padding, "strides": stride}
    depthwise = kind is keras.layers.DepthwiseConv2D
    layer = kind(2, depth_multiplier=2, **arguments) if depthwise else kind(5, 2, **arguments)

    def layers(x):
        y = keras.layers.LayerNormalization(name="norm")(x)
        return keras.layers.Flatten()(layer(y))

    graph = small_net(layers)
    after, _ = rewrite(graph, ("fold-affine",))
    folded = len(kinds(graph)) - len(kinds(after))
    padded = padding == "same" and stride == 1
    assert folded == (0 if padded else 2)
    assert_equal(graph, after, (8, 8, 3), tmp_path)


def test_channels_are_followed_through_windows_flattening_and_means(tmp_path):
    def layers(x):
        y = keras.layers.LayerNormalization(name="norm")(x)  # 8 8 3
        windows = keras.ops.reshape(y, (-1, 2, 4, 2, 4, 3))
        windows = keras.ops.transpose(windows, (0, 1, 3, 2, 4, 5))
        windows = keras.ops.reshape(windows, (-1, 4, 16, 3))
        first = keras.layers.Flatten()(keras.layers.Dense(2)(windows))
        flat = keras.layers.Dense(4)(keras.layers.Flatten()(y))
        pooled = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(y[:, 1:, :5]))
        return keras.layers.Concatenate()([first, flat, pooled])

    graph = small_net(layers)
    after, lines = rewrite(graph, ("fold-affine",))
    assert lines == ("fold-affine: 2",)
    assert_equal(graph, after, (8, 8, 3), tmp_path)


def test_two_linear_layers_get_even_channels(tmp_path):
    def layers(x):
        y = keras.layers.Conv2D(6, 1, name="first")(x)
        y = keras.layers.GlobalAveragePooling2D()(y)
        return keras.layers.Dense(4, name="second")(y)

    graph = small_net(layers)
    after, lines = rewrite(graph, ("equalise-channels",))
    assert lines == ("equalise-channels: 1",)
    assert_equal(graph, after, (8, 8, 3), tmp_path)
    opened = TfliteGraph(after)
    first, second = (
        opened.constant(int(op.inputs[1]))
        for op in opened.operators
        if opened.kind(op) in ("CONV_2D", "FULLY_CONNECTED")
    )
    bias = next(
        opened.constant(int(op.inputs[2]))
        for op in opened.operators
        if opened.kind(op) == "CONV_2D"
    )
    out = np.maximum(np.abs(first).reshape(6, -1).max(axis=1), np.abs(bias))
    ratio = out / np.abs(second).max(axis=0)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def attention_net(heads=2, depth=6, between=lambda x: x, also=lambda attention: {}) -> bytes:
    """Tokens of six channels, a norm, self-attention, and a sum with the tokens."""
    images = keras.Input((8, 8, 3), name="images")
    tokens = keras.layers.Reshape((64, 6))(keras.layers.Dense(6, name="first")(images))
    normed = keras.layers.LayerNormalization(name="norm")(tokens)
    others = between(normed)
    inputs = (normed,) if others is normed else (normed, others)
    mixed, attention = TokenAttention(heads, depth, name="attention")(*inputs)
    logits = keras.layers.Dense(3, name="last")(keras.layers.Flatten()(tokens + mixed))
    network = randomised(keras.Model(images, {"logits": logits, **also(attention)}))
    options = TfliteOptions(preprocess=False, surgery=("centre-norms",))
    return float_graph(source_of(network), options)[0].to_bytes()


@pytest.mark.parametrize("depth", [6, 9])
def test_heads_as_wide_as_tokens_need_no_keys_and_values(depth, tmp_path):
    graph = attention_net(depth=depth)
    after, lines = rewrite(graph, ("attend-through-tokens",))
    assert lines == ("attend-through-tokens: 1",)
    before, left = Counter(kinds(graph)), Counter(kinds(after))
    assert before["TRANSPOSE"] == 4
    assert left["TRANSPOSE"] == 0
    assert left["BATCH_MATMUL"] == 2
    assert before["FULLY_CONNECTED"] - left["FULLY_CONNECTED"] == 2
    assert_equal(graph, after, (8, 8, 3), tmp_path)


def test_gamma_and_beta_go_before_the_products_of_activations_come(tmp_path):
    graph = attention_net()
    after, lines = rewrite(graph, DEFAULT_PASSES)
    assert lines == ("fold-affine: 2", "attend-through-tokens: 1")
    assert_equal(graph, after, (8, 8, 3), tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"depth": 3}, "narrower than tokens"),
        ({"also": lambda attention: {"attention": attention}}, "returns the attention"),
        ({"between": lambda x: keras.layers.Dense(6, name="others")(x)}, "differ in their tokens"),
        ({"also": lambda attention: {"doubled": attention * 2}}, "read by others"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_attention_stays_with_a_reason(options, reason):
    opened = TfliteGraph(attention_net(**options))
    changes = attend_through_tokens(opened)
    assert changes.count == 0
    assert [reason in line for _, line in changes.skipped] == [True]


@pytest.mark.parametrize(("name", "pairs"), [("vit", 2), ("shiftvit", 0)])
def test_values_of_an_attention_are_equalised_with_its_output_layer(graphs, name, pairs):
    _, lines = rewrite(graphs[name], ("equalise-channels",))
    assert lines == ((f"equalise-channels: {pairs}",) if pairs else ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", ()),
        ("default", DEFAULT_PASSES),
        ("all", tuple(PASSES)),
        ("fold-affine,centre-norms", ("centre-norms", "fold-affine")),
        ("default,no-fold-affine", tuple(n for n in DEFAULT_PASSES if n != "fold-affine")),
    ],
)
def test_passes_are_chosen_by_name_and_run_in_the_order_of_the_table(text, expected):
    assert find_passes(text) == expected


def test_an_unknown_pass_is_refused_with_its_near_misses():
    with pytest.raises(UnknownNameError, match="Did you mean fold-affine"):
        find_passes("fold-afine")
    with pytest.raises(UnknownNameError, match="unknown surgery step 'no-thing'"):
        find_passes("no-thing")


def test_the_weights_of_the_last_layer_keep_its_name_when_a_norm_is_folded_into_them():
    def layers(x):
        y = keras.layers.LayerNormalization(name="norm")(x)
        return keras.layers.Dense(4, name="last")(keras.layers.Flatten()(y))

    graph = small_net(layers)
    after, lines = rewrite(graph, ("fold-affine",))
    assert lines
    (last,) = [node for node in list_nodes(parse_model(after, "x")) if node.op == "FULLY_CONNECTED"]
    assert last.layer.split("/")[-1] == "last"
