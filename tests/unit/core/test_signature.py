"""What a model takes and returns, as callers see it."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.documents import from_plain, to_plain
from edgevit.core.samples import count_samples, take_samples
from edgevit.core.signature import Activation, InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess

GREY = Preprocess((20, 30), (8, 8), scale=(0.1,), offset=(0.0,))
PICTURE = InputSpec("photo", (None, 8, 8, 1), "float32", GREY)
CLIP = InputSpec("clip", (None, 5, 8, 8, 1), "float32", GREY)
VECTOR = InputSpec("vector", (None, 7))
TOKENS = InputSpec("tokens", (None, 12), "int32", None, levels=99)
SCORES = OutputSpec("scores", (None, 3), "float32", Role.PROBABILITIES, Activation.SOFTMAX)
MAP = OutputSpec("map", (None, 4, 4, 2), "float32", Role.MAP)
SIGNATURE = Signature((VECTOR, CLIP, PICTURE, TOKENS), (MAP, SCORES))


def test_a_caller_hands_over_raw_pixels_of_the_raw_size():
    assert (PICTURE.raw_shape, PICTURE.raw_dtype) == ((20, 30, 1), "uint8")
    assert (CLIP.raw_shape, CLIP.raw_dtype) == ((5, 20, 30, 1), "uint8")


def test_what_is_no_picture_enters_as_it_is():
    assert (VECTOR.raw_shape, VECTOR.raw_dtype) == ((7,), "float32")
    assert (TOKENS.raw_shape, TOKENS.raw_dtype) == ((12,), "int32")


def test_the_picture_of_a_model_is_its_first_input_of_four_axes_with_a_preparation():
    assert SIGNATURE.picture is PICTURE
    features = InputSpec("features", (None, 4, 4, 64))
    assert Signature((features, VECTOR), (MAP,)).picture is None


def test_an_output_is_found_by_name_or_not_at_all():
    assert SIGNATURE.output("scores") is SCORES
    with pytest.raises(KeyError):
        SIGNATURE.output("logits")


@pytest.mark.parametrize("role", Role)
def test_only_scores_and_masks_tell_classes_apart(role):
    wanted = role in (Role.LOGITS, Role.PROBABILITIES, Role.MASK)
    assert OutputSpec("a", (None, 2), "float32", role).names_classes is wanted


def test_a_signature_survives_the_round_trip_through_plain_values():
    assert from_plain(Signature, to_plain(SIGNATURE)) == SIGNATURE


def test_samples_are_counted_and_taken_of_every_input_alike():
    values = {"a": np.arange(10), "b": np.arange(20).reshape(10, 2)}
    assert count_samples(values) == count_samples(values["b"]) == 10
    assert count_samples({**values, "c": np.arange(9)}) == 9
    taken = take_samples(values, 2, 4)
    assert {name: part.tolist() for name, part in taken.items()} == {
        "a": [2, 3],
        "b": [[4, 5], [6, 7]],
    }
    np.testing.assert_array_equal(take_samples(values["a"], 2, 4), [2, 3])
