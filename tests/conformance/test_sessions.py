"""A session takes any batch of raw images, gives every image its own row, and refuses the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.base.errors import ConfigError, RuntimeFailure
from edgevit.core.format import Format
from edgevit.core.parity import Verdict
from edgevit.formats.registry import open_session
from edgevit.verification.parity import compare


def test_any_number_of_images_gives_identical_rows(exported, target, raw_images):
    with open_session(exported[target.name]) as session:
        whole = session.run(raw_images)["logits"]
        assert whole.shape == (50, 10)
        assert whole.dtype == np.float32
        assert np.isfinite(whole).all()
        for count in (1, 3):
            np.testing.assert_array_equal(session.run(raw_images[:count])["logits"], whole[:count])
        np.testing.assert_array_equal(session.run(raw_images[::-1])["logits"], whole[::-1])
    assert len(np.unique(whole, axis=0)) > 40  # every image has an answer of its own


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((12, 12, 3), np.uint8),
        np.zeros((1, 16, 16, 3), np.uint8),
        np.zeros((1, 12, 12), np.uint8),
        np.zeros((1, 12, 12, 1), np.uint8),
        np.zeros((1, 3, 12, 12), np.uint8),
        np.zeros((0, 12, 12, 3), np.uint8),
        np.zeros((1, 12, 12, 3), np.int64),
        np.zeros((1, 12, 12, 3), bool),
        np.zeros((1, 12, 12, 3), complex),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}",
)
def test_images_of_another_shape_or_type_are_refused(exported, target, images):
    with open_session(exported[target.name]) as session, pytest.raises(ConfigError) as caught:
        session.run(images)
    assert exported[target.name].name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refusal_does_not_spoil_the_session(exported, target, raw_images):
    with open_session(exported[target.name]) as session:
        expected = session.run(raw_images[:2])["logits"]
        with pytest.raises(ConfigError):
            session.run(raw_images[:, :5])
        np.testing.assert_array_equal(session.run(raw_images[:2])["logits"], expected)


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_every_kernel_set_of_litert_is_within_tolerance(exported, kernels, target):
    if target.format is not Format.TFLITE:
        pytest.skip("kernel sets belong to LiteRT")
    with open_session(exported[target.name], kernels) as session:
        assert session.runtime == f"litert-{kernels}"
        reference = session.reference
        few = replace(reference, synthetic=reference.synthetic.first(64))
        assert compare(session, few).verdict(target.tolerance) is Verdict.PASS


def test_more_threads_give_the_same_answers(exported, target, raw_images):
    if target.name == "savedmodel":  # TensorFlow has started its threads long before
        with (
            pytest.raises(RuntimeFailure, match="cannot change to 1 threads"),
            open_session(exported[target.name], threads=1),
        ):
            pass
        return
    found = []
    for threads in (1, 2):
        with open_session(exported[target.name], threads=threads) as session:
            found.append(session.run(raw_images[:8])["logits"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
