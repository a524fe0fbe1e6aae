"""ResNet: a forward pass in numpy, the published counts of parameters, and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.models.build import build, plan_model
from helpers.networks import assert_close, by_path, find_unreached, randomise
from reference.resnet import resnet_in_numpy

SMALL = {
    "strided": {"stem": 6, "widths": (6, 8), "depths": (2, 1), "strides": (1, 2)},
    "merged": {"stem": 4, "widths": (6, 8), "depths": (1, 2), "strides": (2, 2)},
}


@pytest.mark.parametrize("downsampling", SMALL)
def test_logits_are_those_of_the_formulas(downsampling):
    sizes = {
        "image_size": 12,
        "num_classes": 5,
        "downsampling": downsampling,
        **SMALL[downsampling],
    }
    network = build("resnet", **sizes)
    weights = randomise(network)
    named = by_path(network, weights)
    images = np.random.default_rng(1).random((3, 12, 12, 3), np.float32)
    config = plan_model("resnet", **sizes).config
    expected = resnet_in_numpy(images, named, config)
    assert_close(network(images)["logits"], expected)


def test_the_paper_s_sizes_have_its_parameters():
    """Table 6 of the paper says 0.27 M of ResNet-20, whose shortcuts have none (option A)."""
    resnet20 = build("resnet")
    projections = sum(
        int(np.prod(weight.shape)) for weight in resnet20.weights if "shortcut" in weight.path
    )
    fixed = sum(int(np.prod(weight.shape)) for weight in resnet20.non_trainable_weights)
    plain = resnet20.count_params() - projections - fixed
    assert round(plain / 1e6, 2) == 0.27


def test_mlperf_has_the_parameters_of_the_reference_but_for_biases_and_norms():
    biases, norms = 3 * 16 + 3 * 32 + 3 * 64, 4 * (32 + 64)
    assert build("resnet", variant="mlperf").count_params() == 78_666 - biases + norms


def test_every_weight_learns():
    for downsampling, sizes in SMALL.items():
        network = build("resnet", image_size=8, downsampling=downsampling, **sizes)
        images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
        # A residual branch begins as nothing, by the gamma of its last norm: two steps reach all.
        find_unreached(network, images)
        assert find_unreached(network, images) == []


def test_a_new_block_leaves_what_comes_in():
    network = build("resnet", image_size=8)
    inside = keras.Model(network.inputs, network.get_layer("stage1_block1").output)
    before = keras.Model(network.inputs, network.get_layer("stem").output)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_allclose(inside(images), before(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"form": "tutorial"}, "form must be one of 'paper'"),
        ({"downsampling": "pooled"}, "downsampling must be one of"),
        ({"widths": (16, 32)}, "as many of each"),
        ({"depths": (1, 0, 1)}, "depths must be made of whole numbers"),
        ({"drop_path": 1.0}, r"drop_path must be a rate in \[0, 1\)"),
        ({"epsilon": 0}, "epsilon must be a number above 0"),
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        plan_model("resnet", **wrong)
