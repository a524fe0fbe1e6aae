"""The nano of ShiftViT: a forward pass in numpy, what a converter folds away, and its name."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError, ModelFileError, UnknownNameError
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.frontend.opening import open_source
from edgevit.models import MODELS, is_known, split_name
from edgevit.models.build import build, custom_objects, find_variant, plan_model
from edgevit.models.shipped import list_shipped
from edgevit.models.weights import load_model, save_weights
from edgevit.verbs.export import export_all
from edgevit.verification.audit import inspect
from helpers.networks import by_path, randomise
from reference.shiftvit import nano_in_numpy

NANO = {"norm": "batch", "activation": "relu", "stem": "convolutions"}
SMALL = {**NANO, "image_size": 20, "dim": 16, "depths": (1, 2), "num_div": 8, "num_classes": 5}
EPSILON = 1e-5


@pytest.mark.parametrize(
    "sizes",
    [SMALL, {**SMALL, "patch_size": 2, "depths": (2,)}, {**SMALL, "image_size": 18}],
    ids=["quarter", "half", "padded"],
)
def test_logits_equal_an_independent_numpy_forward_pass(sizes, drawn_images):
    model = build("shiftvit", **sizes)
    named = by_path(model, randomise(model))
    images = drawn_images(3, sizes["image_size"]).astype(np.float32) / 255
    found = keras.ops.convert_to_numpy(model(images, training=False)["logits"])
    expected = nano_in_numpy(images, named, plan_model("shiftvit", **sizes).config)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_fresh_block_is_its_shift_so_a_deep_network_starts_as_a_shallow_one(drawn_images):
    images = drawn_images(2, 20).astype(np.float32) / 255
    model = build("shiftvit", **SMALL)
    named = {
        variable.path: value
        for variable, value in zip(model.weights, model.get_weights(), strict=True)
    }
    for path in named:
        if "_block" in path and path.endswith("kernel"):
            named[path] = named[path] + 5.0
    before = keras.ops.convert_to_numpy(model(images)["logits"])
    model.set_weights([named[variable.path] for variable in model.weights])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(images)["logits"]), before)


def test_nano_has_at_most_half_a_million_parameters_on_native_cifar_images():
    plan = plan_model("shiftvit", "nano")
    assert plan.preprocess.input_size == plan.preprocess.network_size == (32, 32)
    assert build("shiftvit", variant="nano").count_params() <= 500_000


def test_saved_keras_file_gives_equal_logits_when_loaded(tmp_path, drawn_images):
    model = build("shiftvit", preprocess=True, input_size=(16, 16), **SMALL)
    randomise(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom_objects())
    images = drawn_images(2, 16)
    one, other = (keras.ops.convert_to_numpy(m(images)["logits"]) for m in (loaded, model))
    np.testing.assert_array_equal(one, other)


# --- what it is for -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with seeded weights of a small nano."""
    folder = tmp_path_factory.mktemp("nano") / "run"
    model = build("shiftvit", **SMALL)
    randomise(model)
    plan = plan_model("shiftvit", input_size=(20, 20), **SMALL)
    weights = model.get_weights()
    save_weights(folder / "weights.safetensors", plan, weights, tuple("abcde"), "float32")
    return folder


def test_int8_holds_products_sums_and_moves_only(run, tmp_path, drawn_images):
    """No norm and no activation is left as an operator of its own, and all passes."""
    targets = "tflite-int8,tflite-mixed,onnx-int8,onnx-float32"
    found = {
        outcome.target.name: outcome
        for outcome in export_all(run, targets, tmp_path, calibration=drawn_images(64, 20))
    }
    assert [str(outcome.verdict) for outcome in found.values()] == ["pass"] * 4
    operators = {*inspect(found["tflite-int8"].artifact.path).ops}
    products = {"CONV_2D", "FULLY_CONNECTED", "ADD", "MEAN"}
    moves = {"PAD", "STRIDED_SLICE", "CONCATENATION", "QUANTIZE"}
    assert operators == products | moves
    counts = inspect(found["onnx-float32"].artifact.path).ops
    assert "BatchNormalization" not in counts
    assert counts.get("Mul", 0) <= 1  # of the pixels


# --- its name -------------------------------------------------------------------------------------


def test_a_size_is_named_with_a_colon_and_its_files_with_a_hyphen():
    assert split_name("shiftvit:nano") == split_name("shiftvit-nano") == ("shiftvit", "nano")
    assert split_name("shiftvit") == ("shiftvit", None)
    assert is_known("shiftvit:nano")
    assert not is_known("shiftvit:nanno")
    assert not is_known("other-nano")
    with pytest.raises(UnknownNameError, match="Did you mean nano"):
        split_name("shiftvit:nanno")
    with pytest.raises(UnknownNameError, match="unknown model 'shiftvitt:nano'"):
        split_name("shiftvitt:nano")


def test_shipped_names_are_those_whose_weights_load():
    assert "shiftvit" in list_shipped()
    for name in list_shipped():
        model, variant = split_name(name)
        plan = load_model(name).plan
        assert (plan.spec.name, find_variant(plan)) == (model, variant)


@pytest.mark.parametrize("name", MODELS)
def test_every_published_size_is_known_again_by_its_config(name):
    assert find_variant(plan_model(name)) is None
    for variant in MODELS[name].variants:
        found = find_variant(plan_model(name, variant, num_classes=7))
        default = plan_model(name, num_classes=7).config
        same_as_default = plan_model(name, variant, num_classes=7).config == default
        assert found == (None if same_as_default else variant)


def test_files_of_a_size_carry_its_name(tmp_path):
    plan = plan_model("shiftvit", "nano", num_classes=10)
    weights = build("shiftvit", variant="nano").get_weights()
    file = tmp_path / "weights.safetensors"
    save_weights(file, plan, weights, CIFAR10_CLASSES, "float16")
    assert open_source(tmp_path).name == "shiftvit-nano"
    assert open_source("shiftvit:nano", weights=file).name == "shiftvit-nano"
    with pytest.raises(ModelFileError, match="another size than shiftvit:tiny"):
        open_source("shiftvit:tiny", weights=file)
    with pytest.raises(ModelFileError, match="another architecture than vit"):
        open_source("vit", weights=file)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": "group"},
        {"activation": "selu"},
        {"stem": "pathc"},
        {"stem": "convolutions", "patch_size": 3},
        {"stem": "convolutions", "patch_size": 1},
        {"stem": "convolutions", "patch_size": 32, "image_size": 64},
        {"form": "tutorial", "norm": "batch"},
        {"form": "tutorial", "activation": "relu"},
        {"form": "tutorial", "stem": "convolutions"},
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_a_config_error_of_one_line(wrong):
    with pytest.raises(ConfigError) as caught:
        plan_model("shiftvit", **wrong)
    assert "Received" in str(caught.value)
    assert "\n" not in str(caught.value)
