"""Bytes that must never change without notice, since exported files carry their digests.

A failure here means that files exported before cannot be verified any more: give the generator a
new name (``golden_images.GENERATOR``), then pin the new digest.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgevit.base.documents import encode_array
from edgevit.core.golden_images import GENERATOR, draw_images
from edgevit.core.golden_inputs import Draw
from edgevit.core.reference import ReferenceSet, Samples

# Of three images by size, from seed 5.
PINNED = {
    (1, 1): "ceb655ba25eeb7299c37f8e20ae0396f7e7f0839dce3b4bdd286be3a46cd61c9",
    (32, 32): "ea64e94e32ba83c452a7ab5f32f9dfcaef7dbe95367bb133605b8b45cb27fa46",
    (20, 300): "c79e733cca6d456ecad6cb7773ad13faa343346d69ee87bcc1f33ac0330e60cf",
    (224, 160): "7a12128b843f84c8e53fb14532faa3311a2819777200a76cc20e7bfda704cd99",
}


@pytest.mark.parametrize("size", PINNED)
def test_the_drawn_images_are_those_that_exported_files_expect(size):
    assert GENERATOR == "dead-leaves-1"
    drawn = draw_images(3, size, seed=5)
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == PINNED[size]


def test_the_digest_of_a_reference_is_the_one_that_exported_files_carry():
    logits = np.arange(6, dtype=np.float32).reshape(2, 3)
    images = {"images": np.full((2, 1, 1, 3), 7, np.uint8)}
    draws = {"images": Draw((1, 1, 3), "uint8", picture=True)}
    reference = ReferenceSet(Samples(images, {"logits": logits}), draws)
    text = b"(2, 1, 1, 3)" + b"\x07" * 6 + b"(2, 3)" + logits.tobytes()
    assert reference.digest == hashlib.sha256(text).hexdigest()


def test_an_array_is_written_down_in_the_documented_form():
    assert encode_array(np.array([[1.0, -2.0]], np.float32)) == {
        "dtype": "float32",
        "shape": [1, 2],
        "base64": "AACAPwAAAMA=",
    }
