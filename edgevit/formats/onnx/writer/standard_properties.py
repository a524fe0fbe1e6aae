"""Properties of an ONNX model that are not our own: those that ONNX names, and the classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgevit.core.manifest import Manifest
from edgevit.core.metadata import EmbeddedMetadata

LABELS_KEY = "labels"
_FORMATS = {1: "Gray8", 3: "Rgb8"}  # of pixels, by channels


def add_standard(documents: Mapping[str, str], path: Path) -> dict[str, str]:
    """Documents with what they say in ONNX's own words; as they are without a manifest.

    ``model_author``, ``model_license`` (ONNX, MetadataProps), ``labels``: class names, one a line;
    of raw pixels ``Image.BitmapPixelFormat``, ``Image.ColorSpaceGamma`` and
    ``Image.NominalPixelRange`` (ONNX, Image Category Definition).

    Args:
        documents: text by key, see :func:`edgevit.core.metadata.write_metadata`.
        path: how errors call the file.
    """
    manifest = EmbeddedMetadata(path, dict(documents)).manifest
    return dict(documents) if manifest is None else {**documents, **_properties(manifest)}


def _properties(manifest: Manifest) -> dict[str, str]:
    names = (" ".join(name.split()) for name in manifest.class_names)
    found = {
        LABELS_KEY: "\n".join(names),
        "model_author": manifest.author,
        "model_license": manifest.license,
        **_pixels(manifest),
    }
    return {key: text for key, text in found.items() if text}


def _pixels(manifest: Manifest) -> dict[str, str]:
    picture = manifest.model_signature.picture
    if not manifest.preprocess_inside or picture is None or picture.shape[-1] not in _FORMATS:
        return {}
    return {
        "Image.BitmapPixelFormat": _FORMATS[picture.shape[-1]],
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }
