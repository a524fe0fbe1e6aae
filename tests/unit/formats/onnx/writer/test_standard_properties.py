"""ONNX's own properties follow from the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgevit.base.documents import to_json
from edgevit.core.manifest import Manifest
from edgevit.core.metadata import MANIFEST_KEY
from edgevit.core.tensors import Preprocess, TensorSpec
from edgevit.formats.onnx.writer.standard_properties import add_standard

SPECS = (TensorSpec("images", (1, 8, 8, 3), "uint8"),), (TensorSpec("logits", (1, 2), "float32"),)
MANIFEST = Manifest(
    "net",
    "onnx-float32",
    ("cat", "big\ndog"),
    Preprocess((8, 8), (8, 8)),
    True,
    *SPECS,
    (),
    {},
    "0" * 64,
    author="Ada",
    license="MIT",
)


def properties(manifest: Manifest) -> dict[str, str]:
    documents = {MANIFEST_KEY: to_json(manifest.to_document())}
    found = add_standard(documents, Path("net.onnx"))
    assert documents.items() <= found.items()
    return {key: text for key, text in found.items() if key not in documents}


def test_they_say_author_licence_classes_and_pixels():
    assert properties(MANIFEST) == {
        "labels": "cat\nbig dog",
        "model_author": "Ada",
        "model_license": "MIT",
        "Image.BitmapPixelFormat": "Rgb8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }


def test_what_is_not_known_is_left_out():
    bare = replace(MANIFEST, class_names=(), author="", license="", preprocess_inside=False)
    assert properties(bare) == {}
    assert add_standard({"note": "x"}, Path("net.onnx")) == {"note": "x"}
