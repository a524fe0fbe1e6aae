"""Puts the papers into the file itself, in the format's own metadata."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.documents import to_json
from edgevit.core.manifest import MANIFEST_KEY, REFERENCE_KEY, Manifest
from edgevit.core.reference import ReferenceSet
from edgevit.core.seal import BLANK, SEAL_KEY, seal

LABELS_KEY = "edgevit.labels"
PREPROCESS_KEY = "edgevit.preprocess"


def papers(manifest: Manifest, reference: ReferenceSet) -> dict[str, str]:
    """The documents that travel inside every exported file, by key.

    ``edgevit.manifest``: what the file is. ``edgevit.reference``: golden images and float logits.
    ``edgevit.labels``: class names, a JSON list. ``edgevit.preprocess``: the contract.
    ``edgevit.seal``: sha256 of the file with the seal itself blank.
    """
    return {
        MANIFEST_KEY: to_json(manifest.to_document()),
        REFERENCE_KEY: to_json(reference.to_document()),
        LABELS_KEY: to_json(list(manifest.class_names)),
        PREPROCESS_KEY: to_json(manifest.preprocess),
        SEAL_KEY: to_json(BLANK),
    }


def embed(path: Path, data: bytes | None, documents: dict[str, str]) -> None:
    """Writes a staged file with its papers inside and seals it; a folder gets them as files.

    Args:
        path: staged .tflite or .onnx file to write, or the staged SavedModel folder.
        data: the file's content; None for a folder.
        documents: of :func:`papers`.
    """
    if data is None:
        folder = path / "assets.extra"
        folder.mkdir(exist_ok=True)
        for key, text in documents.items():
            (folder / f"{key}.json").write_text(text)
    elif path.suffix == ".onnx":
        from edgevit.formats.onnx.writer.content import embed_onnx

        path.write_bytes(embed_onnx(data, documents))
    else:
        from edgevit.formats.tflite.writer.convert import embed_tflite

        path.write_bytes(embed_tflite(data, documents))
    seal(path)
