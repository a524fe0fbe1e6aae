"""PatchDropout and PatchRestore against their definitions (arXiv:2208.07220)."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.layers.patch_dropout import PatchDropout, PatchRestore
from edgevit.models.build import build

BATCH, TOKENS, CHANNELS = 50, 12, 3


def numbered() -> np.ndarray:
    """Tokens B N C whose first channel says which position they come from, from one on."""
    x = np.random.default_rng(0).normal(size=(BATCH, TOKENS, CHANNELS)).astype(np.float32)
    x[:, :, 0] = np.arange(1, TOKENS + 1)
    return x


def run(layer, *values, training):
    found = layer(*values, training=training)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, found)


def test_both_are_the_identity_at_inference():
    x = numbered()
    same, ranks = run(PatchDropout(0.5), x, training=False)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(run(PatchRestore(), x, ranks, training=False), x)


@pytest.mark.parametrize(("rate", "left"), [(0.5, 6), (0.75, 3), (0.2, 10), (0.99, 1), (0.0, 12)])
def test_a_random_subset_is_kept_and_goes_back_to_its_positions(rate, left):
    x = numbered()
    kept, ranks = run(PatchDropout(rate, seed=1), x, training=True)
    assert kept.shape == (BATCH, left, CHANNELS)
    restored = run(PatchRestore(), kept, ranks, training=True)
    present = restored[:, :, 0] != 0  # B N
    np.testing.assert_array_equal(present.sum(axis=1), left)
    np.testing.assert_allclose(restored[present], x[present] * TOKENS / left, rtol=1e-6)
    assert not restored[~present].any()


def test_every_position_is_dropped_as_often_and_each_image_on_its_own():
    x = np.ones((4000, TOKENS, 1), np.float32)
    layer = PatchDropout(0.5, seed=3)
    kept, ranks = run(layer, x, training=True)
    present = run(PatchRestore(), kept, ranks, training=True)[:, :, 0] != 0
    assert np.abs(present.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4000)
    assert len(np.unique(present, axis=0)) > 500  # of 924 subsets
    _, again = run(layer, x, training=True)
    assert not np.array_equal(ranks, again)


def test_tokens_in_front_always_stay():
    kept, _ = run(PatchDropout(0.75, kept=1, seed=2), numbered(), training=True)
    assert kept.shape == (BATCH, 4, CHANNELS)  # one, and a quarter of eleven
    assert ((kept[:, :, 0] == 1).sum(axis=1) == 1).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_share_below_one_is_refused(rate):
    with pytest.raises(ValueError, match=f"Received: rate={rate}"):
        PatchDropout(rate)


@pytest.mark.parametrize("pool", ["flatten", "token"])
def test_a_vit_trained_on_half_of_its_patches_is_the_same_network(pool):
    sizes = {"image_size": 24, "patch_size": 6, "depth": 2, "dim": 16, "head": (8,), "pool": pool}
    sizes |= {"dropout": 0.0, "attention_dropout": 0.0, "head_dropout": 0.0, "outputs": ("all",)}
    images = np.random.default_rng(0).normal(size=(3, 24, 24, 3)).astype(np.float32)
    whole, half = build("vit", **sizes), build("vit", patch_dropout=0.5, **sizes)
    half.set_weights(whole.get_weights())
    expected = keras.ops.convert_to_numpy(whole(images)["logits"])
    logits = keras.ops.convert_to_numpy(half(images)["logits"])
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    trained = half(images, training=True)
    assert trained["attention"].shape[-1] == (8 if pool == "flatten" else 9)  # of 16 patches
    assert not np.allclose(keras.ops.convert_to_numpy(trained["logits"]), expected, atol=1e-4)
