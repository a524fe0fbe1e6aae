"""Golden images and logits: drawn again from a recipe, refused when anything was touched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevit.base.documents import encode_array, to_json
from edgevit.base.errors import ModelFileError
from edgevit.core.golden_images import draw_images
from edgevit.core.reference import ReferenceSet


@pytest.fixture(scope="module")
def reference() -> ReferenceSet:
    logits = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    return ReferenceSet(draw_images(12, (9, 10), seed=4), logits, seed=4)


@pytest.fixture
def document(reference) -> dict:
    return json.loads(to_json(reference.to_document()))


def test_a_reference_survives_the_round_trip_bit_for_bit(reference, document):
    found = ReferenceSet.from_document(document, "x")
    assert found.images.tobytes() == reference.images.tobytes()
    assert found.logits.tobytes() == reference.logits.tobytes()
    assert (found.seed, found.digest) == (4, reference.digest)


def test_the_document_holds_the_recipe_and_the_first_eight_images_only(reference, document):
    assert document["first_images"]["shape"] == [8, 9, 10, 3]
    assert len(to_json(document)) < 8 * 9 * 10 * 3 * 4 / 3 + 2000


def test_large_images_are_embedded_one_at_a_time_at_least():
    large = ReferenceSet(draw_images(2, (160, 160)), np.zeros((2, 3), np.float32))
    assert large.to_document()["first_images"]["shape"] == [1, 160, 160, 3]


def test_one_changed_logit_is_refused(reference, document):
    logits = reference.logits.copy()
    logits[3, 2] = np.nextafter(logits[3, 2], 9)
    document["logits"] = encode_array(logits)
    with pytest.raises(ModelFileError, match=r"net\.onnx: its embedded reference logits"):
        ReferenceSet.from_document(document, "net.onnx")


def test_swapped_rows_of_logits_are_refused(reference, document):
    document["logits"] = encode_array(reference.logits[::-1])
    with pytest.raises(ModelFileError, match="embedded reference logits are damaged"):
        ReferenceSet.from_document(document, "net.onnx")


def test_one_changed_pixel_of_the_embedded_images_is_refused(reference, document):
    images = reference.images[:8].copy()
    images[7, 0, 0, 0] ^= 1
    document["first_images"] = encode_array(images)
    with pytest.raises(ModelFileError, match="cannot be drawn again"):
        ReferenceSet.from_document(document, "net.onnx")


def test_images_of_another_seed_are_refused(document):
    with pytest.raises(ModelFileError, match="cannot be drawn again"):
        ReferenceSet.from_document({**document, "seed": 5}, "net.onnx")


def test_another_generator_is_refused_by_name(document):
    with pytest.raises(ModelFileError, match="'dead-leaves-9'"):
        ReferenceSet.from_document({**document, "generator": "dead-leaves-9"}, "net.onnx")


@pytest.mark.parametrize(
    "damage",
    [
        {"count": 11},
        {"count": "many"},
        {"size": [9, 11]},
        {"size": [-9, 10]},
        {"size": ["a", "b"]},
        {"size": [9]},
        {"size": 9},
        {"size": [1_000_000, 1_000_000]},
        {"seed": -1},
        {"seed": "first"},
        {"images_sha256": "00"},
        {"logits_sha256": "00"},
        {"logits": {}},
        {"logits": None},
        {"first_images": {"dtype": "uint8", "shape": [1], "base64": "!"}},
        {"first_images": {"dtype": "uint8", "shape": [0], "base64": ""}},
    ],
    ids=str,
)
def test_any_other_damage_is_refused_in_one_line(document, damage):
    with pytest.raises(ModelFileError, match=r"^net\.onnx: ") as caught:
        ReferenceSet.from_document({**document, **damage}, "net.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", [[], None, "text"], ids=str)
def test_a_reference_that_is_no_object_is_refused(broken):
    with pytest.raises(ModelFileError, match="embedded reference is damaged"):
        ReferenceSet.from_document(broken, "net.onnx")


def test_the_digest_covers_images_and_logits(reference):
    other_images = ReferenceSet(reference.images[::-1], reference.logits)
    other_logits = ReferenceSet(reference.images, reference.logits[::-1])
    assert len({reference.digest, other_images.digest, other_logits.digest}) == 3
