"""PatchConvNet against counts, an order of weights, and a forward pass written in numpy here."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.models.build import build, build_plan, custom_objects, find_variant, plan_model
from helpers.networks import (
    assert_close,
    assert_random_in_training_only,
    find_unreached,
    output_shapes,
    randomise,
)
from reference.patchconvnet import count_parameters, patchconvnet_in_numpy

SMALL = {"image_size": 22, "dim": 24, "depth": 2, "se_ratio": 5, "num_classes": 5}
DEEP = {**SMALL, "design": "deep", "image_size": 50, "mlp_ratio": 2.5, "layer_scale": 0.3}
NETWORKS = {
    "paper": SMALL,
    "tutorial": {**SMALL, "form": "tutorial"},
    "deep": DEEP,
}
every_network = pytest.mark.parametrize("sizes", NETWORKS.values(), ids=NETWORKS)


# --- the forward pass -----------------------------------------------------------------------------


@every_network
@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_outputs_equal_an_independent_numpy_forward_pass(sizes, epsilon, drawn_images):
    model = build("patchconvnet", **sizes, epsilon=epsilon)
    weights = randomise(model)
    images = drawn_images(3, sizes["image_size"]).astype(np.float32) / 255
    config = plan_model("patchconvnet", **sizes, epsilon=epsilon).config
    logits, attention = patchconvnet_in_numpy(images, weights, config)
    found = model(images, training=False)
    assert_close(found["logits"], logits)
    assert_close(found["attention"], attention)


def test_attention_is_positive_and_leaves_the_class_tokens_own_share(drawn_images):
    model = build("patchconvnet", **SMALL)
    randomise(model)
    found = model(drawn_images(4, 22).astype(np.float32) / 255, training=False)
    attention = keras.ops.convert_to_numpy(found["attention"])
    assert attention.shape == (4, 6, 6)  # 22 pixels -> 11 -> 6
    assert (attention > 0).all()
    assert (attention.sum(axis=(1, 2)) < 1).all()
    assert (attention.sum(axis=(1, 2)) > 0.5).all()


def test_the_two_forms_differ_by_the_form_of_gelu_when_there_is_one_block(drawn_images):
    sizes = {**SMALL, "depth": 1}
    images = drawn_images(2, 22).astype(np.float32) / 255
    paper, tutorial = (build("patchconvnet", form=form, **sizes) for form in ("paper", "tutorial"))
    randomise(paper)
    tutorial.set_weights(paper.get_weights())
    logits = [
        keras.ops.convert_to_numpy(model(images, training=False)["logits"])
        for model in (paper, tutorial)
    ]
    assert 1e-5 < np.abs(logits[0] - logits[1]).max() < 1e-1


@every_network
def test_dropout_and_drop_path_act_in_training_only(sizes, drawn_images):
    model = build("patchconvnet", **sizes, dropout=0.4, drop_path=0.4)
    randomise(model)
    images = drawn_images(4, sizes["image_size"]).astype(np.float32) / 255
    assert_random_in_training_only(model, images)


@every_network
def test_training_reaches_every_weight(sizes, drawn_images):
    model = build("patchconvnet", **sizes)
    randomise(model)
    images = drawn_images(4, sizes["image_size"]).astype(np.float32) / 255
    # A bias of the keys adds the same to all scores of a query: softmax takes it out again.
    assert set(find_unreached(model, images)) <= {"pool/attention/key_bias"}


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "parameters", "arrays"), [("tutorial", 1_436_426, 35), ("paper", 2_174_986, 45)]
)
def test_default_size_has_the_known_count_of_parameters(form, parameters, arrays):
    model = build("patchconvnet", form=form)
    assert model.count_params() == parameters
    assert len(model.get_weights()) == arrays
    assert len({id(weight) for weight in model.weights}) == arrays


def test_weights_are_in_the_tutorials_order():
    expected = [
        ("stem/conv1/kernel", (3, 3, 3, 128)),
        ("stem/conv1/bias", (128,)),
        ("stem/conv2/kernel", (3, 3, 128, 256)),
        ("stem/conv2/bias", (256,)),
        ("block1/norm/gamma", (256,)),
        ("block1/norm/beta", (256,)),
        ("block1/expand/kernel", (1, 1, 256, 256)),
        ("block1/expand/bias", (256,)),
        ("block1/spatial/kernel", (3, 3, 256, 256)),
        ("block1/spatial/bias", (256,)),
        ("block1/excite/reduce/kernel", (256, 32)),
        ("block1/excite/expand/kernel", (32, 256)),
        ("block1/project/kernel", (1, 1, 256, 256)),
        ("block1/project/bias", (256,)),
        ("pool/token/token", (1, 1, 256)),
        ("pool/attention/query_kernel", (256, 1, 256)),
        ("pool/attention/query_bias", (1, 256)),
        ("pool/attention/key_kernel", (256, 1, 256)),
        ("pool/attention/key_bias", (1, 256)),
        ("pool/attention/value_kernel", (256, 1, 256)),
        ("pool/attention/value_bias", (1, 256)),
        ("pool/attention/output_kernel", (1, 256, 256)),
        ("pool/attention/output_bias", (256,)),
        ("pool/norm1/gamma", (256,)),
        ("pool/norm1/beta", (256,)),
        ("pool/norm2/gamma", (256,)),
        ("pool/norm2/beta", (256,)),
        ("pool/norm3/gamma", (256,)),
        ("pool/norm3/beta", (256,)),
        ("pool/expand/kernel", (256, 256)),
        ("pool/expand/bias", (256,)),
        ("pool/project/kernel", (256, 256)),
        ("pool/project/bias", (256,)),
        ("classifier/kernel", (256, 10)),
        ("classifier/bias", (10,)),
    ]
    model = build("patchconvnet", form="tutorial")
    assert [(weight.path, tuple(weight.shape)) for weight in model.weights] == expected


@pytest.mark.parametrize("sizes", [SMALL, DEEP, {**DEEP, "dim": 32, "depth": 3}], ids=str)
def test_count_formula_of_this_test_counts_real_models(sizes):
    expected = count_parameters(plan_model("patchconvnet", **sizes).config)
    assert build("patchconvnet", **sizes).count_params() == expected


@pytest.mark.parametrize(
    ("variant", "dim", "depth", "millions"),
    [("s60", 384, 60, 25.2), ("s120", 384, 120, 47.7), ("b60", 768, 60, 99.4)],
)
def test_paper_variants_have_the_published_sizes(variant, dim, depth, millions):
    config = plan_model("patchconvnet", variant=variant).config
    assert (config.design, config.dim, config.depth) == ("deep", dim, depth)
    assert (config.image_size, config.num_classes, config.mlp_ratio) == (224, 1000, 3.0)
    assert round(count_parameters(config) / 1e6, 1) == millions


@pytest.mark.long
@pytest.mark.parametrize("variant", ["s60", "s120", "b60"])
def test_paper_variants_can_be_built(variant):
    model = build("patchconvnet", variant=variant)
    assert model.count_params() == count_parameters(plan_model("patchconvnet", variant).config)
    assert output_shapes(model) == {"logits": (None, 1000), "attention": (None, 14, 14)}


# --- the border of the model ----------------------------------------------------------------------


def test_model_has_one_input_and_both_outputs_unless_told_otherwise():
    model = build("patchconvnet", **SMALL)
    assert [tensor.name for tensor in model.inputs] == ["images"]
    assert output_shapes(model) == {"logits": (None, 5), "attention": (None, 6, 6)}
    alone = build("patchconvnet", outputs=("logits",), **SMALL)
    assert output_shapes(alone) == {"logits": (None, 5)}


@every_network
def test_preprocessing_model_equals_the_plain_model_on_prepared_pixels(sizes, drawn_images):
    raw = build("patchconvnet", preprocess=True, input_size=(15, 17), **sizes)
    plain = build("patchconvnet", **sizes)
    randomise(raw)
    plain.set_weights(raw.get_weights())
    images = drawn_images(2, (15, 17))
    prepared = plan_model("patchconvnet", **sizes).preprocess.apply(images)
    expected = keras.ops.convert_to_numpy(plain(prepared)["logits"])
    assert_close(raw(images)["logits"], expected)


@every_network
def test_saved_keras_file_gives_equal_outputs_when_loaded(sizes, tmp_path, drawn_images):
    model = build("patchconvnet", **sizes, drop_path=0.3, epsilon=0.01)
    randomise(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects())
    images = drawn_images(2, sizes["image_size"]).astype(np.float32) / 255
    for name, value in model(images, training=False).items():
        copy = loaded(images, training=False)[name]
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(copy), keras.ops.convert_to_numpy(value)
        )
    for block, copy in zip(model.layers, loaded.layers, strict=True):
        assert copy.get_config() == block.get_config()


def test_custom_objects_name_every_layer_of_the_package_inside_a_model():
    models = [build("patchconvnet", **sizes) for sizes in NETWORKS.values()]
    layers = [layer for model in models for layer in model._flatten_layers()]
    own = {type(layer) for layer in layers if type(layer).__module__.startswith("edgevit")}
    assert len(own) == 8
    assert own <= set(custom_objects().values())


# --- other stems ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strides", "grid", "channels"),
    [((2, 2), 8, (16, 32)), ((1, 2), 16, (16, 32)), ((1, 2, 2), 8, (8, 16, 32)), ((4,), 8, (32,))],
)
def test_the_stem_has_a_convolution_for_each_stride(strides, grid, channels):
    plan = plan_model("patchconvnet", image_size=32, dim=32, stem_strides=strides)
    network = build_plan(replace(plan, outputs=("logits", "attention")))
    images = np.zeros((1, 32, 32, 3), np.float32)
    assert network(images)["attention"].shape == (1, grid, grid)
    kernels = [w for w in network.weights if w.path.startswith("stem/") and "kernel" in w.path]
    assert tuple(kernel.shape[-1] for kernel in kernels) == channels


def test_the_designs_own_stem_is_the_same_network():
    own = build("patchconvnet", image_size=16, dim=16)
    given = build("patchconvnet", image_size=16, dim=16, stem_strides=(2, 2))
    given.set_weights(own.get_weights())
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    results = [keras.ops.convert_to_numpy(net(images)["logits"]) for net in (own, given)]
    np.testing.assert_array_equal(*results)


def test_the_nano_is_a_size_of_less_than_half_a_million_parameters():
    plan = plan_model("patchconvnet", "nano")
    assert find_variant(plan) == "nano"
    assert plan.preprocess.input_size == plan.preprocess.network_size == (32, 32)
    assert build_plan(plan).count_params() == 422_650


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"form": "papre"},
        {"design": "wide"},
        {"design": "deep", "form": "tutorial"},
        {"image_size": 0},
        {"dim": 0},
        {"dim": 7},  # se_ratio 8
        {"dim": 7, "se_ratio": 4, "design": "deep"},  # the stem divides by 8
        {"stem_strides": (0, 2)},
        {"stem_strides": (2.0, 2)},
        {"dim": 10, "se_ratio": 2, "stem_strides": (1,) * 5},  # it divides by 16
        {"depth": 0},
        {"depth": 1.5},
        {"se_ratio": 0},
        {"num_classes": 0},
        {"dropout": 1.0},
        {"drop_path": -0.1},
        {"mlp_ratio": 0},
        {"mlp_ratio": 0.001},
        {"layer_scale": 0},
        {"epsilon": -1e-6},
        {"image_size": "large"},
        {"depth": True},
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_a_config_error_of_one_line(sizes):
    with pytest.raises(ConfigError, match="Received: ") as caught:
        plan_model("patchconvnet", **sizes)
    assert "\n" not in str(caught.value)
