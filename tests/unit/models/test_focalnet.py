"""FocalNet against counts, an order of weights, and a forward pass written in numpy here."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.models.build import build, custom_objects, plan_model
from helpers.networks import (
    assert_close,
    assert_random_in_training_only,
    find_unreached,
    output_shapes,
    randomise,
)
from reference.focalnet import count_parameters, focalnet_in_numpy

FORMS = ("paper", "tutorial")
ALL = ("logits", "gates", "modulator")
SMALL = {
    "image_size": 24,
    "patch_size": 3,
    "dim": 6,
    "depths": (1, 2, 1),
    "focal_levels": (2, 3, 1),
    "focal_windows": (3, 1, 5),
    "mlp_ratio": 2.5,
    "num_classes": 5,
}


# --- the forward pass -----------------------------------------------------------------------------

SIZES = {
    "three stages": SMALL,
    "another block explained": {**SMALL, "explained": (1, 1)},
    "one stage, large epsilons": {
        **SMALL,
        "depths": (2,),
        "focal_levels": (2,),
        "focal_windows": (3,),
        "epsilon": 0.2,
        "embed_epsilon": 0.1,
        "focal_factor": 4,
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_outputs_equal_an_independent_numpy_forward_pass(sizes, form, drawn_images):
    model = build("focalnet", form=form, outputs=ALL, **sizes)
    weights = randomise(model)
    images = drawn_images(3, 24).astype(np.float32) / 255
    config = plan_model("focalnet", form=form, **sizes).config
    expected = focalnet_in_numpy(images, weights, config)
    found = model(images, training=False)
    assert set(found) == set(expected) == set(ALL)
    for name, value in expected.items():
        assert_close(found[name], value)


def test_gates_that_are_shut_leave_the_mlp_alone(drawn_images):
    model = build("focalnet", outputs=ALL, **SMALL)
    randomise(model)
    block = model.get_layer("stage2_block2")
    width = 2 * 12  # query and context, then the gates
    kernel = keras.ops.convert_to_numpy(block.modulation.kernel).copy()
    bias = keras.ops.convert_to_numpy(block.modulation.bias).copy()
    kernel[:, width:], bias[width:] = 0, (0, 0, 0, 1)
    block.modulation.kernel.assign(kernel)
    block.modulation.bias.assign(bias)
    found = model(drawn_images(2, 24).astype(np.float32) / 255, training=False)
    gates = keras.ops.convert_to_numpy(found["gates"])
    np.testing.assert_array_equal(gates, np.broadcast_to([0, 0, 0, 1], (2, 4, 4, 4)))
    # Only the global context is let through: the modulator is the same everywhere.
    modulator = keras.ops.convert_to_numpy(found["modulator"])
    np.testing.assert_allclose(modulator, np.broadcast_to(modulator[:, :1, :1], modulator.shape))


def test_default_size_explains_the_last_block_of_the_middle_stage():
    model = build("focalnet", outputs=ALL, dim=8)
    assert output_shapes(model) == {
        "logits": (None, 10),
        "gates": (None, 6, 6, 3),
        "modulator": (None, 6, 6, 16),
    }
    assert plan_model("focalnet").config.explained_block == (2, 3)
    assert plan_model("focalnet", "tiny_srf").config.explained_block == (3, 6)
    assert plan_model("focalnet", explained=(1, 2)).config.explained_block == (1, 2)


def test_gates_and_modulator_are_there_on_request_only():
    assert set(output_shapes(build("focalnet", **SMALL))) == {"logits"}
    both = build("focalnet", outputs=("gates",), **SMALL)
    assert set(output_shapes(both)) == {"logits", "gates"}
    with pytest.raises(UnknownNameError, match="gates"):
        build("focalnet", outputs=("gate",), **SMALL)


def test_the_forms_differ_by_the_norm_before_the_modulation(drawn_images):
    images = drawn_images(2, 24).astype(np.float32) / 255
    paper, tutorial = (build("focalnet", form=form, **SMALL) for form in FORMS)
    randomise(paper)
    norm1 = [w for w in paper.weights if "/norm1/" in w.path]
    tutorial.set_weights(
        [keras.ops.convert_to_numpy(w) for w in paper.weights if "/norm1/" not in w.path]
    )
    assert len(norm1) == 2 * 4
    logits = [keras.ops.convert_to_numpy(m(images)["logits"]) for m in (paper, tutorial)]
    assert np.abs(logits[0] - logits[1]).max() > 1e-2


@pytest.mark.parametrize("form", FORMS)
def test_dropout_and_drop_path_act_in_training_only(form, drawn_images):
    model = build("focalnet", form=form, **SMALL, drop_path=0.4)
    randomise(model)
    images = drawn_images(4, 24).astype(np.float32) / 255
    assert_random_in_training_only(model, images)


def test_drop_path_rises_linearly_over_all_blocks():
    model = build("focalnet", **SMALL, drop_path=0.3)
    rates = [layer.drop_path.rate for layer in model.layers if hasattr(layer, "drop_path")]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("form", FORMS)
def test_training_reaches_every_weight(form, drawn_images):
    model = build("focalnet", form=form, **SMALL)
    randomise(model)
    assert find_unreached(model, drawn_images(4, 24).astype(np.float32) / 255) == []


# --- weights --------------------------------------------------------------------------------------


def test_weights_are_the_tutorials_in_its_order():
    expected = []
    for stage, depth in enumerate((2, 3, 2), start=1):
        width = 256 * 2 ** (stage - 1)
        name, side, before = ("patches", 4, 3) if stage == 1 else (None, 2, width // 2)
        name = name or f"stage{stage - 1}_merge"
        expected += [
            (f"{name}/projection/kernel", (side, side, before, width)),
            (f"{name}/projection/bias", (width,)),
            (f"{name}/norm/gamma", (width,)),
            (f"{name}/norm/beta", (width,)),
        ]
        for block in range(1, depth + 1):
            name = f"stage{stage}_block{block}"
            expected += [
                (f"{name}/norm2/gamma", (width,)),
                (f"{name}/norm2/beta", (width,)),
                (f"{name}/modulation/kernel", (width, 2 * width + 3)),
                (f"{name}/modulation/bias", (2 * width + 3,)),
                (f"{name}/modulation/f0/kernel", (3, 3, 1, width)),
                (f"{name}/modulation/f1/kernel", (5, 5, 1, width)),
                (f"{name}/modulation/modulate/kernel", (1, 1, width, width)),
                (f"{name}/modulation/modulate/bias", (width,)),
                (f"{name}/modulation/project/kernel", (width, width)),
                (f"{name}/modulation/project/bias", (width,)),
                (f"{name}/expand/kernel", (width, 4 * width)),
                (f"{name}/expand/bias", (4 * width,)),
                (f"{name}/project/kernel", (4 * width, width)),
                (f"{name}/project/bias", (width,)),
            ]
    expected += [("norm/gamma", (1024,)), ("norm/beta", (1024,))]
    expected += [("classifier/kernel", (1024, 10)), ("classifier/bias", (10,))]
    model = build("focalnet", form="tutorial")
    assert [(weight.path, tuple(weight.shape)) for weight in model.weights] == expected
    assert model.count_params() == 39_023_903
    assert len(model.get_weights()) == 114


def test_paper_form_has_one_more_norm_a_block():
    model = build("focalnet")
    assert model.count_params() == 39_032_095
    assert len(model.get_weights()) == 114 + 7 * 2


def test_count_formula_of_this_test_counts_real_models():
    assert count_parameters(plan_model("focalnet").config) == 39_032_095
    small = build("focalnet", **SMALL).count_params()
    assert count_parameters(plan_model("focalnet", **SMALL).config) == small


@pytest.mark.parametrize(
    ("variant", "dim", "depths", "levels", "millions"),
    [
        ("tiny_srf", 96, (2, 2, 6, 2), 2, 28.4),
        ("tiny_lrf", 96, (2, 2, 6, 2), 3, 28.6),
        ("small_srf", 96, (2, 2, 18, 2), 2, 49.9),
        ("small_lrf", 96, (2, 2, 18, 2), 3, 50.3),
        ("base_srf", 128, (2, 2, 18, 2), 2, 88.1),
        ("base_lrf", 128, (2, 2, 18, 2), 3, 88.7),
    ],
)
def test_paper_variants_have_the_published_sizes(variant, dim, depths, levels, millions):
    config = plan_model("focalnet", variant=variant).config
    assert (config.dim, config.depths, config.focal_levels) == (dim, depths, (levels,) * 4)
    assert (config.image_size, config.patch_size, config.num_classes) == (224, 4, 1000)
    assert round(count_parameters(config) / 1e6, 1) == millions


@pytest.mark.long
@pytest.mark.parametrize("variant", ["tiny_srf", "tiny_lrf", "base_lrf"])
def test_paper_variants_can_be_built(variant):
    model = build("focalnet", variant=variant)
    assert model.count_params() == count_parameters(plan_model("focalnet", variant).config)
    assert output_shapes(model) == {"logits": (None, 1000)}


# --- the border of the model ----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_preprocessing_model_equals_the_plain_model_on_prepared_pixels(form, drawn_images):
    raw = build("focalnet", form=form, preprocess=True, input_size=(15, 17), **SMALL)
    plain = build("focalnet", form=form, **SMALL)
    randomise(raw)
    plain.set_weights(raw.get_weights())
    images = drawn_images(2, (15, 17))
    prepared = plan_model("focalnet", **SMALL).preprocess.apply(images)
    assert_close(raw(images)["logits"], keras.ops.convert_to_numpy(plain(prepared)["logits"]))


@pytest.mark.parametrize("form", FORMS)
def test_saved_keras_file_gives_equal_outputs_when_loaded(form, tmp_path, drawn_images):
    sizes = {**SMALL, "focal_factor": 4, "epsilon": 0.01, "drop_path": 0.3}
    model = build("focalnet", form=form, outputs=ALL, **sizes)
    randomise(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects())
    images = drawn_images(2, 24).astype(np.float32) / 255
    copies = loaded(images, training=False)
    for name, value in model(images, training=False).items():
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(copies[name]), keras.ops.convert_to_numpy(value)
        )
    for block, copy in zip(model.layers, loaded.layers, strict=True):
        assert copy.get_config() == block.get_config()


def test_custom_objects_name_every_layer_of_the_package_inside_a_model():
    layers = build("focalnet", **SMALL)._flatten_layers()
    own = {type(layer) for layer in layers if type(layer).__module__.startswith("edgevit")}
    assert len(own) == 6
    assert own <= set(custom_objects().values())


def test_config_read_from_json_lists_equals_the_config_of_tuples():
    lists = {
        key: list(value) if isinstance(value, tuple) else value for key, value in SMALL.items()
    }
    plan = plan_model("focalnet", **lists, explained=[2, 1])
    assert plan.config == plan_model("focalnet", **SMALL, explained=(2, 1)).config


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"form": "papre"},
        {"image_size": 44},  # 44 / 4 = 11, which two halvings do not divide
        {"image_size": 0},
        {"patch_size": 0},
        {"dim": 0},
        {"depths": ()},
        {"depths": (2, 0, 2)},
        {"depths": (2, 3)},
        {"focal_levels": (2, 2)},
        {"focal_windows": (3, 4, 3)},
        {"focal_factor": 1},
        {"mlp_ratio": 0},
        {"mlp_ratio": 0.001},
        {"dropout": 1.0},
        {"drop_path": -0.1},
        {"epsilon": -1e-5},
        {"embed_epsilon": 0},
        {"num_classes": 0},
        {"explained": (4, 1)},
        {"explained": (2, 4)},
        {"explained": (0, 1)},
        {"explained": (2,)},
        {"image_size": "large"},
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_a_config_error_of_one_line(sizes):
    with pytest.raises(ConfigError, match="Received: ") as caught:
        plan_model("focalnet", **sizes)
    assert "\n" not in str(caught.value)
