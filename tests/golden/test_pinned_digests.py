"""Bytes that must never change without notice, since exported files carry their digests.

A failure here means that files exported before cannot be verified any more: give the generator a
new name (``golden_images.GENERATOR``), then pin the new digest.
"""

from __future__ import annotations

import hashlib

import numpy as np

from edgevit.base.documents import encode_array
from edgevit.core.golden_images import GENERATOR, draw_images
from edgevit.core.golden_inputs import Draw
from edgevit.core.reference import ReferenceSet, Samples

PINNED = "134a808860b6e37ee1ffc4a268510a854f65f1df6dc06254de0dbc7da75c5976"


def test_the_drawn_images_are_those_that_exported_files_expect():
    assert GENERATOR == "dead-leaves-1"
    drawn = draw_images(8, (32, 32), seed=0)
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == PINNED


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
