"""Files that were exported before models had several inputs are still read and verified.

`first_version` holds what that version wrote for a classifier of pixels of 12 x 12 with a map of
attention beside its logits.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgevit
from edgevit.core.golden_images import draw_images
from edgevit.core.metadata import MANIFEST_KEY, REFERENCE_KEY
from edgevit.core.parity import SYNTHETIC, Verdict
from edgevit.core.signature import Role
from edgevit.formats.registry import open_session
from edgevit.formats.session import read_signature
from edgevit.verbs.verify import verify

FILES = sorted(
    path
    for path in Path(__file__).with_name("first_version").iterdir()
    if path.suffix in (".tflite", ".onnx")
)
CLASSES = ("ant", "bee", "cow", "dog", "elk")


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request, tmp_path) -> Path:
    """A copy of a file with its manifest beside it."""
    for name in (request.param.name, f"{request.param.name}.manifest.json"):
        shutil.copy(request.param.with_name(name), tmp_path / name)
    return tmp_path / request.param.name


def test_both_files_are_there():
    assert [path.name for path in FILES] == [
        "looker-onnx-float32.onnx",
        "looker-tflite-int8.tflite",
    ]


def test_its_documents_are_of_the_first_version(path):
    with open_session(path) as session:
        manifest = json.loads(session.metadata[MANIFEST_KEY])
        reference = json.loads(session.metadata[REFERENCE_KEY])
    assert {"task", "signature"} & {*manifest} == set()
    assert {"logits", "logits_sha256", "first_images", "others"} <= {*reference}


def test_it_passes_on_all_that_was_recorded(path):
    found = verify(path)
    assert found.verdict is Verdict.PASS
    first = found.reports[0]
    assert [(output.name, output.images) for output in first.outputs] == [
        ("logits", 256),
        ("attention", 32),
    ]
    assert [output.role for output in first.outputs] == [Role.LOGITS, Role.MAP]
    assert first.samples == SYNTHETIC
    assert first.top1_agreement > 0.95


def test_it_is_a_classifier_of_pictures(path):
    images = draw_images(3, (12, 12), seed=8)
    with edgevit.open_session(path) as session:
        signature = read_signature(session)
        assert session.manifest.task == "classification"
        assert session.manifest.class_names == CLASSES
        found = session.run(images)
        np.testing.assert_array_equal(session.run({"pixels": images})["logits"], found["logits"])
    assert signature.picture.raw_shape == (12, 12, 3)
    assert {name: values.shape for name, values in found.items()} == {
        "logits": (3, 5),
        "attention": (3, 3, 3),
    }


def test_a_byte_that_changed_is_damage(path):
    content = bytearray(path.read_bytes())
    place = content.index(b"logits_sha256") + 30
    content[place] ^= 1
    path.write_bytes(content)
    assert verify(path).verdict is Verdict.FAIL
