"""ShiftViT against counts, an order of weights, and a forward pass written in numpy here."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.core.tensors import Preprocess
from edgevit.models.build import build, custom_objects, plan_model
from helpers.networks import assert_close, assert_random_in_training_only, randomise
from reference.shiftvit import count_parameters, shiftvit_in_numpy

FORMS = ("paper", "tutorial")
SMALL = {"image_size": 22, "dim": 24, "depths": (1, 2, 1), "num_div": 6, "num_classes": 5}


def logits_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False)["logits"])


# --- the forward pass -----------------------------------------------------------------------------

SIZES = {
    "odd sizes everywhere": SMALL,  # 22 -> 6 (padded by 1 and 1) -> 3 -> 2 (padded after)
    "uneven padding of patches": {**SMALL, "image_size": 21, "depths": (1, 1)},
    "two pixels and a large epsilon": {**SMALL, "shift_pixels": 2, "epsilon": 0.2},
    "narrow MLP and other patches": {**SMALL, "patch_size": 3, "mlp_ratio": 1.5, "depths": (2, 1)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_logits_equal_an_independent_numpy_forward_pass(sizes, form, drawn_images):
    model = build("shiftvit", form=form, **sizes)
    weights = randomise(model)
    images = drawn_images(3, sizes["image_size"]).astype(np.float32) / 255
    config = plan_model("shiftvit", form=form, **sizes).config
    assert_close(logits_of(model, images), shiftvit_in_numpy(images, weights, config))


def test_the_two_forms_disagree_on_the_same_weights(drawn_images):
    images = drawn_images(2, 22).astype(np.float32) / 255
    paper, tutorial = (build("shiftvit", form=form, **SMALL) for form in FORMS)
    tutorial.set_weights(randomise(paper))
    difference = np.abs(logits_of(paper, images) - logits_of(tutorial, images)).max()
    assert difference > 1e-2


def test_dropout_and_drop_path_act_in_training_only(drawn_images):
    model = build("shiftvit", **{**SMALL, "depths": (2,)}, dropout=0.5, drop_path=0.5)
    randomise(model)
    images = drawn_images(4, 22).astype(np.float32) / 255
    assert_random_in_training_only(model, images)


@pytest.mark.parametrize("form", FORMS)
def test_drop_path_rises_linearly_to_its_full_rate_in_each_stage(form):
    model = build("shiftvit", form=form, **{**SMALL, "depths": (3, 1, 5)}, drop_path=0.2)
    rates = {
        layer.name: layer.drop_path.rate for layer in model.layers if hasattr(layer, "drop_path")
    }
    expected = [*np.linspace(0, 0.2, 3), *np.linspace(0, 0.2, 1), *np.linspace(0, 0.2, 5)]
    np.testing.assert_allclose(list(rates.values()), expected)


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_default_size_has_the_tutorials_parameters_in_109_arrays(form):
    model = build("shiftvit", form=form)
    assert model.count_params() == 11_690_602
    assert sum(weight.size for weight in model.get_weights()) == 11_690_602
    assert len(model.get_weights()) == 109


def test_weights_are_in_the_tutorials_order():
    expected = [("patch_projection/kernel", (4, 4, 3, 96)), ("patch_projection/bias", (96,))]
    for stage, depth in enumerate((2, 4, 8, 2)):
        width = 96 * 2**stage
        for block in range(depth):
            name = f"stage{stage + 1}_block{block + 1}"
            expected += [
                (f"{name}/norm/gamma", (width,)),
                (f"{name}/norm/beta", (width,)),
                (f"{name}/expand/kernel", (width, 2 * width)),
                (f"{name}/expand/bias", (2 * width,)),
                (f"{name}/project/kernel", (2 * width, width)),
                (f"{name}/project/bias", (width,)),
            ]
        if stage < 3:
            name = f"stage{stage + 1}_merge"
            expected += [
                (f"{name}/reduction/kernel", (2, 2, width, 2 * width)),
                (f"{name}/norm/gamma", (width,)),
                (f"{name}/norm/beta", (width,)),
            ]
    expected += [("classifier/kernel", (768, 10)), ("classifier/bias", (10,))]
    model = build("shiftvit", form="tutorial")
    assert [(weight.path, tuple(weight.shape)) for weight in model.weights] == expected


def test_count_formula_of_this_test_gives_the_published_count():
    assert count_parameters(96, (2, 4, 8, 2), 10) == 11_690_602


def test_tiny_variant_has_28_million_parameters_at_224():
    model = build("shiftvit", variant="tiny")
    assert model.input_shape == (None, 224, 224, 3)
    assert model.outputs[0].shape == (None, 1000)
    assert model.count_params() == count_parameters(96, (6, 8, 18, 6), 1000)
    assert round(model.count_params() / 1e6, 0) in (28, 29)


@pytest.mark.parametrize(
    ("variant", "dim", "depths", "millions"),
    [
        ("tiny", 96, (6, 8, 18, 6), 28),
        ("small", 96, (10, 18, 36, 10), 50),
        ("base", 128, (10, 18, 36, 10), 89),
    ],
)
def test_paper_variants_have_the_sizes_of_table_1(variant, dim, depths, millions):
    config = plan_model("shiftvit", variant=variant).config
    assert (config.dim, config.depths, config.num_classes) == (dim, depths, 1000)
    assert (config.image_size, config.patch_size, config.mlp_ratio) == (224, 4, 2.0)
    assert config.num_div == 12
    count = count_parameters(config.dim, config.depths, config.num_classes)
    assert abs(count / 1e6 - millions) < 0.03 * millions


# --- the border of the model ----------------------------------------------------------------------


def test_model_has_one_input_named_images_and_a_dict_with_logits(drawn_images):
    model = build("shiftvit", **SMALL)
    assert [tensor.name for tensor in model.inputs] == ["images"]
    assert model.inputs[0].dtype == "float32"
    result = model(drawn_images(3, 22).astype(np.float32) / 255)
    assert {name: (value.shape, value.dtype.name) for name, value in result.items()} == {
        "logits": ((3, 5), "float32")
    }


@pytest.mark.parametrize("form", FORMS)
def test_preprocessing_model_takes_uint8_and_equals_the_plain_model_on_prepared_pixels(
    form, drawn_images
):
    raw = build("shiftvit", form=form, preprocess=True, input_size=(15, 17), **SMALL)
    plain = build("shiftvit", form=form, **SMALL)
    plain.set_weights(randomise(raw))
    assert raw.inputs[0].dtype == "uint8"
    assert raw.input_shape == (None, 15, 17, 3)
    images = drawn_images(2, (15, 17))
    # The tutorial resizes to 52 for a network of 48 pixels, then takes the middle: 23 for 22 here.
    resize = (23, 23) if form == "tutorial" else None
    prepared = Preprocess(network_size=(22, 22), resize=resize).apply(images)
    assert_close(logits_of(raw, images), logits_of(plain, prepared))


@pytest.mark.parametrize("form", FORMS)
def test_saved_keras_file_gives_equal_logits_when_loaded(form, tmp_path, drawn_images):
    sizes = {**SMALL, "epsilon": 0.01, "mlp_ratio": 1.5, "shift_pixels": 2, "drop_path": 0.3}
    model = build("shiftvit", form=form, preprocess=True, input_size=(16, 16), **sizes)
    randomise(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects())
    images = drawn_images(2, 16)
    np.testing.assert_array_equal(logits_of(loaded, images), logits_of(model, images))
    for block, copy in zip(model.layers, loaded.layers, strict=True):
        assert copy.get_config() == block.get_config()


def test_custom_objects_name_every_layer_of_the_package_inside_a_model():
    model = build("shiftvit", form="tutorial", preprocess=True, **SMALL)
    layers = [*model._flatten_layers(), *build("shiftvit", **SMALL)._flatten_layers()]
    own = {type(layer) for layer in layers if type(layer).__module__.startswith("edgevit")}
    assert len(own) == 6
    assert own <= set(custom_objects().values())
    assert all(name == layer.__name__ for name, layer in custom_objects().items())


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"form": "papre"},
        {"num_div": 3},
        {"num_div": 97},
        {"form": "tutorial", "num_div": 25},  # 4 groups of 25 channels need 100 of 96
        {"dim": 0},
        {"depths": (2, 0)},
        {"image_size": 0},
        {"patch_size": -1},
        {"num_classes": 0},
        {"shift_pixels": 0},
        {"mlp_ratio": 0},
        {"depths": 3},
        {"image_size": "large"},
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_a_config_error_of_one_line(sizes):
    with pytest.raises(ConfigError) as caught:
        build("shiftvit", **sizes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "unknown", "near"),
    [
        ({"name": "shiftvitt"}, "model 'shiftvitt'", "Did you mean shiftvit?"),
        ({"name": "ShiftViT"}, "model 'ShiftViT'", "Did you mean shiftvit?"),
        ({"variant": "tinny"}, "variant of shiftvit 'tinny'", "Did you mean tiny?"),
        (
            {"variant": "huge"},
            "variant of shiftvit 'huge'",
            "Known: base, cifar, nano, small, tiny.",
        ),
        ({"depth": (2,)}, "option of shiftvit 'depth'", "Did you mean depths"),
        ({"classes": 3}, "option of shiftvit 'classes'", "num_classes"),
    ],
    ids=str,
)
def test_unknown_names_are_refused_with_their_near_misses(arguments, unknown, near):
    with pytest.raises(UnknownNameError) as caught:
        build(**{"name": "shiftvit", **arguments})
    assert unknown in str(caught.value)
    assert near in str(caught.value)
    assert "\n" not in str(caught.value)
