"""GCViT against counts, an order of weights, and a forward pass written in numpy here."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.core.tensors import Preprocess
from edgevit.models import split_name
from edgevit.models.build import build, custom_objects, find_variant, plan_model
from edgevit.models.gcvit import VARIANTS, GCViTBlock
from helpers.networks import assert_close, assert_random_in_training_only, outputs_of, randomise
from reference.gcvit import GCViTInNumpy, count_parameters

FORMS = ("paper", "tutorial")
SMALL = {
    "image_size": 32,  # maps of 8x8 and 4x4 tokens
    "dim": 8,
    "depths": (2, 3),
    "num_heads": (2, 4),
    "window_sizes": (2, 4),
    "num_classes": 5,
}


def normalised(images: np.ndarray) -> np.ndarray:
    """Pixels with ImageNet's mean and deviation, without a resize."""
    contract = plan_model("gcvit").preprocess
    return replace(contract, network_size=images.shape[1:3]).apply(images)


# --- the forward pass -----------------------------------------------------------------------------

SIZES = {
    "windows, halvings, a local last block": SMALL,
    "odd maps": {  # 35 -> 18 -> 9 -> 5 -> 3, one window each
        **SMALL,
        "image_size": 35,
        "depths": (1, 1, 2),
        "num_heads": (1, 1, 1),
        "window_sizes": (9, 5, 3),
    },
    "factors, large epsilon, narrow MLP": {
        **SMALL,
        "image_size": 16,
        "depths": (2,),
        "num_heads": (2,),
        "window_sizes": (2,),
        "layer_scale": 0.5,
        "epsilon": 0.2,
        "mlp_ratio": 0.6,
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_outputs_equal_an_independent_numpy_forward_pass(sizes, form, drawn_images):
    plan = plan_model("gcvit", form=form, **sizes)
    model = build("gcvit", form=form, outputs=("logits", "attention"), **sizes)
    weights = randomise(model)
    images = normalised(drawn_images(3, sizes["image_size"]))
    logits, attention = GCViTInNumpy(weights, plan.config)(images)
    result = outputs_of(model, images)
    assert np.abs(logits - logits[0]).max() > 1e-2  # pictures matter
    assert_close(result["logits"], logits)
    assert_close(result["attention"], attention)


def test_the_two_forms_disagree_on_the_same_weights(drawn_images):
    images = normalised(drawn_images(2, 32))
    paper, tutorial = (build("gcvit", form=form, **SMALL) for form in FORMS)
    tutorial.set_weights(randomise(paper))
    difference = outputs_of(paper, images)["logits"] - outputs_of(tutorial, images)["logits"]
    assert np.abs(difference).max() > 1e-2


@pytest.mark.parametrize(
    ("windows", "depths", "sums"), [((2, 4), (1, 1), 1), ((4, 2), (1, 2), 4)], ids=str
)
def test_attention_over_each_window_of_the_last_map_sums_to_one(
    windows, depths, sums, drawn_images
):
    sizes = {**SMALL, "window_sizes": windows, "depths": depths}
    model = build("gcvit", outputs=("attention",), **sizes)
    randomise(model)
    attention = outputs_of(model, normalised(drawn_images(3, 32)))["attention"]
    assert attention.shape == (3, 4, 4)
    assert (attention > 0).all()
    np.testing.assert_allclose(attention.sum(axis=(1, 2)), sums, rtol=1e-6)
    side = windows[1]
    np.testing.assert_allclose(attention[:, :side, :side].sum(axis=(1, 2)), 1, rtol=1e-6)


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "drop_path"])
def test_dropout_and_drop_path_act_in_training_only(rate, drawn_images):
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "drop_path": 0.0, rate: 0.5}
    model = build("gcvit", **{**SMALL, "depths": (1, 1)}, **rates)
    randomise(model)
    images = normalised(drawn_images(4, 32))
    assert_random_in_training_only(model, images)


@pytest.mark.parametrize("silent", ["attention/project", "project"])
def test_dropout_acts_at_the_end_of_both_branches_and_inside_the_mlp(silent):
    block = GCViTBlock(window=2, num_heads=2, dropout=0.5, name="block")
    block.build((None, 4, 4, 8))
    rng = np.random.default_rng(3)
    for weight in block.weights:
        muted = weight.path.startswith(f"block/{silent}/")
        weight.assign(np.zeros(weight.shape) if muted else rng.normal(size=weight.shape))
    x = rng.normal(size=(8, 4, 4, 8)).astype(np.float32)
    plain, trained = (
        keras.ops.convert_to_numpy(block(x, training=training)[0]) - x for training in (False, True)
    )
    dropped = np.abs(trained) < 1e-5
    assert 0.4 < dropped.mean() < 0.6
    doubled = np.isclose(trained, 2 * plain, rtol=1e-3, atol=1e-4)[~dropped].mean()
    if silent == "project":  # what comes from attention is whole or gone
        assert doubled == 1
    else:
        assert doubled < 0.1


def test_drop_path_rises_linearly_over_the_blocks_of_the_whole_network():
    model = build("gcvit", **SMALL, drop_path=0.3)
    blocks = [block for level in (1, 2) for block in model.get_layer(f"level{level}").blocks]
    rates = [block.drop_path.rate for block in blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.3, 5))


def test_blocks_are_local_and_global_in_turns():
    model = build("gcvit", **SMALL)
    found = [
        [block.global_query for block in model.get_layer(name).blocks]
        for name in ("level1", "level2")
    ]
    assert found == [[False, True], [False, True, False]]


def test_gradients_reach_every_trainable_weight(drawn_images):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("taken with TensorFlow's tape")
    import tensorflow as tf

    model = build("gcvit", **SMALL, layer_scale=0.1, drop_path=0.0)  # no branch goes missing
    randomise(model)
    with tf.GradientTape() as tape:
        logits = model(normalised(drawn_images(2, 32)), training=True)["logits"]
        loss = tf.reduce_sum(logits[:, 0] - logits[:, 1] ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.abs(tf.convert_to_tensor(gradient).numpy()).max() > 0, weight.path


# --- weights --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def default_model() -> keras.Model:
    return build("gcvit", form="tutorial")


def test_default_size_has_the_tutorials_parameters_in_226_arrays(default_model):
    assert default_model.count_params() == 11_995_428
    assert sum(weight.size for weight in default_model.get_weights()) == 11_995_428
    assert len(default_model.get_weights()) == 226


def test_weights_are_in_the_tutorials_order(default_model):
    expected = [("stem/project/kernel", (3, 3, 3, 64)), ("stem/project/bias", (64,))]

    def add(name, *shapes):
        expected.extend((f"{name}/{part}", shape) for part, shape in shapes)

    def mbconv(name, width):
        add(
            name,
            ("depthwise/kernel", (3, 3, width, 1)),
            ("excite/reduce/kernel", (width, width // 4)),
            ("excite/expand/kernel", (width // 4, width)),
            ("project/kernel", (1, 1, width, width)),
        )

    def downsample(name, width, wider):
        mbconv(f"{name}/mbconv", width)
        add(
            name,
            ("reduction/kernel", (3, 3, width, wider)),
            ("norm1/gamma", (width,)),
            ("norm1/beta", (width,)),
            ("norm2/gamma", (wider,)),
            ("norm2/beta", (wider,)),
        )

    downsample("stem/down", 64, 64)
    for level, (depth, heads, window, stages) in enumerate(
        [(2, 2, 7, 3), (2, 4, 7, 2), (6, 8, 14, 1), (2, 16, 7, 1)]
    ):
        width = 64 * 2**level
        for block in range(depth):
            parts = 2 if block % 2 else 3
            add(
                f"level{level + 1}/block{block + 1}",
                ("norm1/gamma", (width,)),
                ("norm1/beta", (width,)),
                ("attention/bias_table", ((2 * window - 1) ** 2, heads)),
                ("attention/qkv/kernel", (width, parts * width)),
                ("attention/qkv/bias", (parts * width,)),
                ("attention/project/kernel", (width, width)),
                ("attention/project/bias", (width,)),
                ("norm2/gamma", (width,)),
                ("norm2/beta", (width,)),
                ("expand/kernel", (width, 3 * width)),
                ("expand/bias", (3 * width,)),
                ("project/kernel", (3 * width, width)),
                ("project/bias", (width,)),
            )
        if level < 3:
            downsample(f"level{level + 1}/down", width, 2 * width)
        for stage in range(stages):
            mbconv(f"level{level + 1}/query/stage{stage + 1}", width)
    add("norm", ("gamma", (512,)), ("beta", (512,)))
    add("classifier", ("kernel", (512, 1000)), ("bias", (1000,)))
    assert [(weight.path, tuple(weight.shape)) for weight in default_model.weights] == expected


@pytest.mark.parametrize("form", FORMS)
def test_factors_of_the_residual_branches_come_first_in_a_block(form):
    model = build("gcvit", form=form, **SMALL, layer_scale=0.01)
    names = [weight.path for weight in model.weights if weight.path.startswith("level1/block1/")]
    assert names[:3] == [
        "level1/block1/scale1/factor",
        "level1/block1/scale2/factor",
        "level1/block1/norm1/gamma",
    ]
    factor = keras.ops.convert_to_numpy(model.get_layer("level1").blocks[0].scales[1].factor)
    np.testing.assert_allclose(factor, np.full(8, 0.01))
    assert model.count_params() == count_parameters(
        plan_model("gcvit", **SMALL, layer_scale=0.01).config
    )


@pytest.mark.parametrize(
    ("variant", "millions"),
    [("xxtiny", 12), ("xtiny", 20), ("tiny", 28), ("small", 51), ("base", 90), ("large", 201)],
)
def test_variants_have_the_published_sizes(variant, millions):
    config = plan_model("gcvit", variant=variant).config
    assert (config.image_size, config.num_classes) == (224, 1000)
    assert config.window_sizes == (7, 7, 14, 7)
    assert [config.dim * 2**level // heads for level, heads in enumerate(config.num_heads)] == (
        [32] * 4
    )
    assert (config.layer_scale is not None) == (variant in ("small", "base", "large"))
    assert abs(count_parameters(config) / 1e6 - millions) < 0.012 * millions


def test_count_formula_of_this_test_gives_the_published_count():
    assert count_parameters(plan_model("gcvit", variant="xxtiny").config) == 11_995_428
    config = plan_model("gcvit", variant="cifar").config
    assert count_parameters(config) == 11_995_428 - 990 * 513
    assert asdict(config) == {**asdict(plan_model("gcvit").config), "num_classes": 10}


def test_the_small_one_for_cifar_has_the_windows_of_the_large_one_in_smaller():
    plan = plan_model("gcvit", variant="cifar64")
    large = plan_model("gcvit", variant="cifar")
    assert plan.preprocess.input_size == large.preprocess.input_size == (32, 32)
    assert plan.preprocess.network_size == (64, 64)
    assert plan.config.halvings == large.config.halvings
    differing = {"image_size": 64, "window_sizes": (2, 2, 4, 2)}
    assert asdict(plan.config) == {**asdict(large.config), **differing}
    assert find_variant(plan) == "cifar64"
    assert find_variant(large) is None
    assert split_name("gcvit-cifar64") == ("gcvit", "cifar64")


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_built_with_the_parameters_of_the_formula(variant):
    model = build("gcvit", variant=variant)
    assert model.count_params() == count_parameters(plan_model("gcvit", variant=variant).config)


# --- the border of the model ----------------------------------------------------------------------


def test_model_gives_logits_alone_unless_attention_is_asked_for(drawn_images):
    images = normalised(drawn_images(3, 32))
    model = build("gcvit", **SMALL)
    assert [tensor.name for tensor in model.inputs] == ["images"]
    assert {name: value.shape for name, value in outputs_of(model, images).items()} == {
        "logits": (3, 5)
    }
    both = build("gcvit", outputs=("attention", "logits"), **SMALL)
    assert {name: value.shape for name, value in outputs_of(both, images).items()} == {
        "logits": (3, 5),
        "attention": (3, 4, 4),
    }
    assert {name: value.shape for name, value in both.output.items()} == {
        "logits": (None, 5),
        "attention": (None, 4, 4),
    }


def test_preprocessing_is_imagenets_mean_and_deviation():
    contract = plan_model("gcvit").preprocess
    assert contract.network_size == contract.resized == (224, 224)
    images = np.array([[[[0, 0, 0], [255, 255, 255], [124, 116, 104]]]], np.uint8)
    pixels = Preprocess((1, 3), (1, 3), scale=contract.scale, offset=contract.offset).apply(images)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(pixels, (images / 255 - mean) / deviation, atol=1e-6)
    assert np.abs(pixels[0, 0, 2]).max() < 0.02  # the mean colour


def test_preprocessing_model_takes_uint8_and_equals_the_plain_model_on_prepared_pixels(
    drawn_images,
):
    raw = build("gcvit", preprocess=True, input_size=(20, 27), **SMALL)
    plain = build("gcvit", **SMALL)
    plain.set_weights(randomise(raw))
    assert (raw.inputs[0].dtype, raw.input_shape) == ("uint8", (None, 20, 27, 3))
    images = drawn_images(2, (20, 27))
    contract = plan_model("gcvit", input_size=(20, 27), **SMALL).preprocess
    expected = outputs_of(plain, contract.apply(images))["logits"]
    assert_close(outputs_of(raw, images)["logits"], expected)


@pytest.mark.parametrize("form", FORMS)
def test_saved_keras_file_gives_equal_outputs_when_loaded(form, tmp_path, drawn_images):
    sizes = {**SMALL, "epsilon": 0.01, "mlp_ratio": 1.5, "layer_scale": 0.3, "drop_path": 0.3}
    rates = {"dropout": 0.1, "attention_dropout": 0.2}
    model = build("gcvit", form=form, outputs=("attention",), **sizes, **rates)
    randomise(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects())
    images = normalised(drawn_images(2, 32))
    expected = outputs_of(model, images)
    for name, value in outputs_of(loaded, images).items():
        np.testing.assert_array_equal(value, expected[name])
    for layer, copy in zip(model.layers, loaded.layers, strict=True):
        assert copy.get_config() == layer.get_config()


def test_config_survives_json():
    config = plan_model("gcvit", variant="small", form="tutorial").config
    assert type(config)(**json.loads(json.dumps(asdict(config)))) == config


def test_custom_objects_name_every_layer_of_the_package_inside_a_model():
    model = build("gcvit", **SMALL, layer_scale=0.1, drop_path=0.1)
    own = {
        type(layer)
        for layer in model._flatten_layers()
        if type(layer).__module__.startswith("edgevit")
    }
    assert len(own) == 10
    assert own <= set(custom_objects().values())
    assert all(name == layer.__name__ for name, layer in custom_objects().items())


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"form": "papre"}, "form='papre'"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": "large"}, "image_size='large'"),
        ({"image_size": 256}, "the map of level 1 has 64x64 tokens"),
        ({"window_sizes": (7, 7, 7, 3)}, "the map of level 4 has 7x7 tokens"),
        ({"window_sizes": (7, 7, 14)}, "one entry a level"),
        ({"num_heads": (2, 4, 8)}, "one entry a level"),
        ({"num_heads": (2, 4, 8, 0)}, "num_heads=(2, 4, 8, 0)"),
        ({"num_heads": (3, 4, 8, 16)}, "num_heads of level 1 must divide 64"),
        ({"depths": ()}, "depths=()"),
        ({"depths": 3}, "depths must be a list"),
        ({"depths": (2, 2, 0, 2)}, "depths=(2, 2, 0, 2)"),
        ({"dim": 2, "num_heads": (1, 1, 1, 1)}, "dim=2"),
        ({"dim": 0}, "dim=0"),
        ({"mlp_ratio": 0}, "mlp_ratio=0"),
        ({"mlp_ratio": 0.001}, "mlp_ratio=0.001"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout=-0.1"),
        ({"drop_path": 1.5}, "drop_path=1.5"),
        ({"layer_scale": 0.0}, "layer_scale=0.0"),
        ({"epsilon": -1e-5}, "epsilon=-1e-05"),
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_a_config_error_of_one_line(sizes, named):
    with pytest.raises(ConfigError) as caught:
        plan_model("gcvit", **sizes)
    assert named in str(caught.value)
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_output_is_refused_with_those_there_are():
    with pytest.raises(UnknownNameError, match="Did you mean attention"):
        plan_model("gcvit", outputs=("atention",))
