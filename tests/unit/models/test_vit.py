"""ViT against counts, an order of weights, and a forward pass written in numpy here."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.models.build import build, custom_objects, plan_model
from edgevit.models.vit import InputNormalization
from helpers.networks import (
    assert_close,
    assert_random_in_training_only,
    find_unreached,
    output_shapes,
    randomise,
)
from reference.vit import count_parameters, vit_in_numpy

FORMS = ("paper", "tutorial")
ALL = ("logits", "attention")
SMALL = {
    "image_size": 20,
    "patch_size": 5,
    "dim": 12,
    "depth": 2,
    "num_heads": 3,
    "head_dim": 5,
    "mlp_dim": 18,
    "head": (16, 8),
    "num_classes": 5,
}
TOKEN = {**SMALL, "pool": "token", "head": (), "mlp_last_gelu": False, "epsilon": 0.1}
NETWORKS = {"paper": SMALL, "tutorial": {**SMALL, "form": "tutorial"}, "token": TOKEN}
every_network = pytest.mark.parametrize("sizes", NETWORKS.values(), ids=NETWORKS)


def filled(model: keras.Model) -> list[np.ndarray]:
    """Random weights, with a mean and a variance of pixels that make sense."""
    weights = randomise(model)
    if model.weights[0].path.startswith("normalization/"):
        weights[:3] = np.array([90.0, 120.0, 150.0]), np.array([900.0, 2500.0, 4000.0]), np.array(7)
        model.set_weights(weights)
    return weights


def prepared(config, images: np.ndarray) -> np.ndarray:
    """Pixels in the range that the form expects."""
    images = images.astype(np.float32)
    return images if config.form == "tutorial" else images / 128 - 1


# --- the forward pass -----------------------------------------------------------------------------

SIZES = {
    **NETWORKS,
    "token with a head": {**TOKEN, "head": (7,), "mlp_last_gelu": True},
    "no head, flattened": {**SMALL, "head": (), "depth": 1, "num_heads": 1},
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_outputs_equal_an_independent_numpy_forward_pass(sizes, drawn_images):
    model = build("vit", outputs=ALL, **sizes)
    weights = filled(model)
    config = plan_model("vit", **sizes).config
    images = prepared(config, drawn_images(3, 20))
    logits, attention = vit_in_numpy(images, weights, config)
    found = model(images, training=False)
    assert_close(found["logits"], logits)
    assert_close(found["attention"], attention)


@pytest.mark.parametrize(("sizes", "tokens"), [(SMALL, 16), (TOKEN, 17)], ids=["flatten", "token"])
def test_attention_is_of_the_last_block_and_its_rows_sum_to_one(sizes, tokens, drawn_images):
    model = build("vit", outputs=ALL, **sizes)
    randomise(model)
    assert output_shapes(model) == {"logits": (None, 5), "attention": (None, 3, tokens, tokens)}
    found = model(drawn_images(4, 20).astype(np.float32) / 128 - 1, training=False)
    attention = keras.ops.convert_to_numpy(found["attention"])
    assert attention.shape == (4, 3, tokens, tokens)
    assert (attention > 0).all()
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)


def test_attention_is_there_on_request_only():
    assert set(output_shapes(build("vit", **SMALL))) == {"logits"}


@every_network
def test_dropout_and_drop_path_act_in_training_only(sizes, drawn_images):
    model = build("vit", **sizes, drop_path=0.4)
    filled(model)
    images = prepared(plan_model("vit", **sizes).config, drawn_images(4, 20))
    assert_random_in_training_only(model, images)


def test_drop_path_rises_linearly_over_the_blocks():
    model = build("vit", **{**SMALL, "depth": 4}, drop_path=0.3)
    rates = [layer.drop_path.rate for layer in model.layers if hasattr(layer, "drop_path")]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3])


@every_network
def test_training_reaches_every_weight(sizes, drawn_images):
    model = build("vit", **sizes)
    filled(model)
    images = prepared(plan_model("vit", **sizes).config, drawn_images(4, 20))
    # A bias of the keys adds the same to all scores of a query: softmax takes it out again.
    blind = {f"block{number}/attention/key_bias" for number in (1, 2)}
    assert set(find_unreached(model, images)) <= blind
    assert not any("normalization" in weight.path for weight in model.trainable_weights)


# --- weights --------------------------------------------------------------------------------------


def test_weights_are_the_tutorials_in_its_order():
    expected = [
        ("normalization/mean", (3,)),
        ("normalization/variance", (3,)),
        ("normalization/count", ()),
        ("patches/kernel", (108, 64)),
        ("patches/bias", (64,)),
        ("positions/embeddings", (144, 64)),
    ]
    for block in range(1, 9):
        name = f"block{block}"
        expected += [(f"{name}/norm1/gamma", (64,)), (f"{name}/norm1/beta", (64,))]
        for part in ("query", "key", "value"):
            expected.append((f"{name}/attention/{part}_kernel", (64, 4, 64)))
            expected.append((f"{name}/attention/{part}_bias", (4, 64)))
        expected += [
            (f"{name}/attention/output_kernel", (4, 64, 64)),
            (f"{name}/attention/output_bias", (64,)),
            (f"{name}/norm2/gamma", (64,)),
            (f"{name}/norm2/beta", (64,)),
            (f"{name}/expand/kernel", (64, 128)),
            (f"{name}/expand/bias", (128,)),
            (f"{name}/project/kernel", (128, 64)),
            (f"{name}/project/bias", (64,)),
        ]
    expected += [("norm/gamma", (64,)), ("norm/beta", (64,))]
    for name, before, after in (
        ("head1", 9216, 2048),
        ("head2", 2048, 1024),
        ("classifier", 1024, 100),
    ):
        expected += [(f"{name}/kernel", (before, after)), (f"{name}/bias", (after,))]
    model = build("vit", form="tutorial", num_classes=100)
    assert [(weight.path, tuple(weight.shape)) for weight in model.weights] == expected
    assert model.count_params() == 21_759_012 + 7
    assert len(model.get_weights()) == 139 + 3


def test_default_size_has_the_tutorials_parameters_in_139_arrays():
    model = build("vit")
    assert model.count_params() == 21_759_012 - 90 * 1025  # 10 classes instead of 100
    assert len(model.get_weights()) == 139
    assert count_parameters(plan_model("vit", num_classes=100).config) == 21_759_012


@pytest.mark.parametrize("sizes", [SMALL, TOKEN, {**TOKEN, "head": (9,)}], ids=str)
def test_count_formula_of_this_test_counts_real_models(sizes):
    expected = count_parameters(plan_model("vit", **sizes).config)
    assert build("vit", **sizes).count_params() == expected


@pytest.mark.parametrize(
    ("variant", "dim", "heads", "parameters"),
    [("tiny", 192, 3, 5_717_416), ("small", 384, 6, 22_050_664), ("base", 768, 12, 86_567_656)],
)
def test_paper_variants_have_the_published_sizes(variant, dim, heads, parameters):
    config = plan_model("vit", variant=variant).config
    assert (config.dim, config.depth, config.num_heads) == (dim, 12, heads)
    assert (config.head_dim, config.mlp_dim) == (64, 4 * dim)
    assert (config.image_size, config.patch_size, config.num_classes) == (224, 16, 1000)
    assert (config.pool, config.head, config.mlp_last_gelu) == ("token", (), False)
    assert count_parameters(config) == parameters


@pytest.mark.long
@pytest.mark.parametrize("variant", ["tiny", "small", "base"])
def test_paper_variants_can_be_built(variant):
    model = build("vit", variant=variant, outputs=ALL)
    assert model.count_params() == count_parameters(plan_model("vit", variant).config)
    heads = plan_model("vit", variant).config.num_heads
    assert output_shapes(model) == {"logits": (None, 1000), "attention": (None, heads, 197, 197)}


# --- pixels ---------------------------------------------------------------------------------------


def test_both_forms_agree_on_raw_images_when_they_normalise_alike(drawn_images):
    mean, deviation = (0.3, 0.5, 0.6), (0.2, 0.25, 0.3)
    pixels = {"pixel_mean": mean, "pixel_deviation": deviation}
    raw = {"preprocess": True, "input_size": (15, 17)}
    paper = build("vit", **raw, **SMALL, **pixels)
    tutorial = build("vit", form="tutorial", **raw, **SMALL)
    randomise(paper)
    statistics = [255 * np.array(mean), (255 * np.array(deviation)) ** 2, np.array(0)]
    tutorial.set_weights([*statistics, *paper.get_weights()])
    images = drawn_images(2, (15, 17))
    expected = keras.ops.convert_to_numpy(paper(images)["logits"])
    assert_close(tutorial(images)["logits"], expected)


def test_fresh_normalisation_is_that_of_the_preprocessing_contract(drawn_images):
    images = drawn_images(3, 20)
    contract = plan_model("vit", **SMALL).preprocess
    assert contract.scale != (1 / 255,) * 3
    layer = InputNormalization()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(images.astype(np.float32))),
        contract.apply(images),
        atol=1e-5,
    )


def test_normalisation_equals_keras_own_layer_and_follows_set_weights():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (50, 4, 4, 3)).astype(np.float32) * np.array([1, 0.5, 0])
    stock = keras.layers.Normalization()
    stock.adapt(images)
    layer = InputNormalization()
    layer.build(images.shape)
    assert [w.shape for w in layer.get_weights()] == [w.shape for w in stock.get_weights()]
    layer.set_weights(stock.get_weights())
    expected = keras.ops.convert_to_numpy(stock(images))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(images)), expected, atol=1e-5)


@every_network
def test_preprocessing_model_equals_the_plain_model_on_prepared_pixels(sizes, drawn_images):
    raw = build("vit", preprocess=True, input_size=(15, 17), **sizes)
    plain = build("vit", **sizes)
    filled(raw)
    plain.set_weights(raw.get_weights())
    images = drawn_images(2, (15, 17))
    pixels = plan_model("vit", **sizes).preprocess.apply(images)
    assert_close(raw(images)["logits"], keras.ops.convert_to_numpy(plain(pixels)["logits"]))


# --- the border of the model ----------------------------------------------------------------------


@every_network
def test_saved_keras_file_gives_equal_outputs_when_loaded(sizes, tmp_path, drawn_images):
    pixels = {"pixel_mean": (0.1, 0.2, 0.3), "pixel_deviation": (0.3, 0.2, 0.1)}
    model = build("vit", outputs=ALL, **sizes, **pixels, drop_path=0.3)
    filled(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects())
    images = prepared(plan_model("vit", **sizes).config, drawn_images(2, 20))
    copies = loaded(images, training=False)
    for name, value in model(images, training=False).items():
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(copies[name]), keras.ops.convert_to_numpy(value)
        )


def test_custom_objects_name_every_layer_of_the_package_inside_a_model():
    models = [build("vit", **sizes) for sizes in NETWORKS.values()]
    layers = [layer for model in models for layer in model._flatten_layers()]
    own = {type(layer) for layer in layers if type(layer).__module__.startswith("edgevit")}
    assert len(own) == 8
    assert own <= set(custom_objects().values())
    for layer in layers:
        if type(layer) in own:
            assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_config_read_from_json_lists_equals_the_config_of_tuples():
    plan = plan_model("vit", head=[16, 8], pixel_mean=[0, 0.5, 1], pixel_deviation=[1, 1, 1])
    assert plan.config.head == (16, 8)
    assert hash(plan.config)
    assert plan_model("vit", head=[]).config.head == ()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"form": "papre"},
        {"pool": "mean"},
        {"image_size": 70},  # patches of 6
        {"image_size": 0},
        {"patch_size": 0},
        {"dim": 0},
        {"depth": 0},
        {"num_heads": 0},
        {"head_dim": 0},
        {"mlp_dim": 0},
        {"head": (2048, 0)},
        {"num_classes": 0},
        {"dropout": 1.0},
        {"attention_dropout": -0.1},
        {"head_dropout": 1.5},
        {"drop_path": -0.1},
        {"epsilon": -1e-6},
        {"pixel_deviation": (0.2, 0.0, 0.2)},
        {"pixel_mean": (0.5, 0.5)},
        {"image_size": "large"},
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_a_config_error_of_one_line(sizes):
    with pytest.raises(ConfigError, match="Received: ") as caught:
        plan_model("vit", **sizes)
    assert "\n" not in str(caught.value)
