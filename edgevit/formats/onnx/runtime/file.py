"""An .onnx file without a runtime."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.errors import MissingDependencyError, ModelFileError


def read_metadata(path: Path) -> dict[str, str]:
    """Text documents that travel inside the file, by key.

    Raises:
        MissingDependencyError: onnx is not installed.
        ModelFileError: the file is damaged.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError("onnx", "onnx", "Reading an .onnx file") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises several types for damaged files
        reason = " ".join(str(error).split())[:120]
        raise ModelFileError(f"{path}: the ONNX file is damaged ({reason}).") from None
    return {entry.key: entry.value for entry in model.metadata_props}
