"""Writes the metadata into the file itself, in the format's own way."""

from __future__ import annotations

from pathlib import Path

from edgevit.core.seal import seal


def embed(path: Path, data: bytes | None, documents: dict[str, str]) -> None:
    """Writes a staged file with its metadata inside and seals it; a folder gets them as files.

    Args:
        path: staged .tflite or .onnx file to write, or the staged SavedModel folder.
        data: the file's content; None for a folder.
        documents: of :func:`edgevit.core.metadata.write_metadata`.
    """
    if data is None:
        folder = path / "assets.extra"
        folder.mkdir(exist_ok=True)
        for key, text in documents.items():
            (folder / f"{key}.json").write_text(text)
    elif path.suffix == ".onnx":
        from edgevit.formats.onnx.writer.convert import embed_onnx

        path.write_bytes(embed_onnx(data, documents))
    else:
        from edgevit.formats.tflite.writer.graph import TfliteGraph

        path.write_bytes(TfliteGraph(data).to_bytes(documents))
    seal(path)
