"""Files and folders that are no Keras model: recognised, and refused with what to do."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from edgevit.base.bounds import WEIGHTS_BYTES, check_regular
from edgevit.base.documents import read_json
from edgevit.base.errors import ModelFileError
from edgevit.core.samples import PICTURE_SUFFIXES

HDF5 = b"\x89HDF\r\n\x1a\n"
HEAD = 4096  # bytes that tell what a file is
KNOWN = (
    "edgevit exports .keras and .h5 files, SavedModel folders, keras.applications.NAME, "
    "package.module:function, and its own architectures ('edgevit models')"
)
FROM_KERAS = "Give the Keras model that it was made from"
EXPORTED = f"is what an export makes. {FROM_KERAS}; 'edgevit inspect' and 'verify' take this file."


def read_head(path: Path) -> bytes:
    """A file's first bytes; none where it cannot be read.

    Raises:
        ModelFileError: it is a device or a pipe.
    """
    if path.exists():
        check_regular(path, WEIGHTS_BYTES, ModelFileError)
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    return read_head(path).startswith(HDF5)


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive with the config of a Keras model."""
    return zipfile.is_zipfile(path) and "config.json" in _members(path)


def refuse(path: Path) -> ModelFileError:
    """The refusal of a file or folder that holds no model."""
    said = describe_folder(path) if path.is_dir() else describe_file(path)
    return ModelFileError(f"{path}: {said}")


def describe_file(path: Path) -> str:
    """Names a file's kind and what to do with it: "is a PyTorch file. ..."."""
    head = read_head(path)
    return next(say for say in (recognise(path, head) for recognise in _FILES) if say)


def describe_folder(path: Path) -> str:
    """Names a folder's kind and what to do with it."""
    return next(say for say in (recognise(path) for recognise in _FOLDERS) if say)


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def _empty(path: Path, head: bytes) -> str | None:
    return None if head else "is empty: truncated, or not copied. Copy or save it again."


def _tflite(path: Path, head: bytes) -> str | None:
    return f"is a TFLite file, which {EXPORTED}" if head[4:8] == b"TFL3" else None


def _onnx(path: Path, head: bytes) -> str | None:
    return f"is an ONNX file, which {EXPORTED}" if path.suffix == ".onnx" else None


def _torch(path: Path, head: bytes) -> str | None:
    pickled = head[:1] == b"\x80" and path.suffix in (".pt", ".pth", ".bin", ".ckpt")
    if not pickled and not any(name.endswith("data.pkl") for name in _members(path)):
        return None
    return (
        "is a PyTorch file. edgevit exports Keras models: build the network in Keras, set the "
        "weights layer by layer, and save it as .keras."
    )


def _zip(path: Path, head: bytes) -> str | None:
    if not head.startswith(b"PK"):
        return None
    if not zipfile.is_zipfile(path):
        return "is a zip archive that is truncated. Copy or save it again."
    if any(name.endswith("saved_model.pb") for name in _members(path)):
        return "is a packed SavedModel. Unpack it and give the folder."
    if "config.json" in _members(path):
        return "is a .keras file that is damaged. Copy or save it again."
    return "is a zip archive without config.json, so no .keras file. Save the model with Keras."


def _hdf5(path: Path, head: bytes) -> str | None:
    return "is an HDF5 file." if head.startswith(HDF5) else None


def _text(path: Path, head: bytes) -> str | None:
    try:
        text = head.decode().lstrip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not merely cut inside a character
            return None
        text = head[: error.start].decode().lstrip()
    if text.startswith("version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself. Run 'git lfs pull'."
    if path.suffix == ".py":
        return f"is Python code. Name a function in it that returns the model: '{path.stem}:NAME'."
    if text.lower().startswith(("<!doctype html", "<html")):
        return "is a web page, so the download went wrong. Download the file itself."
    if _is_architecture(path, text):
        return (
            "is the architecture of a Keras model without weights. Build it in a function, and "
            "name it with --weights FILE: 'edgevit export my_package.nets:build --weights FILE'."
        )
    return None if "\x00" in text else f"is a text file. {KNOWN}."


def _is_architecture(path: Path, text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return "class_name" in read_json(path)
    except (ModelFileError, TypeError):
        return False


def _named(path: Path, head: bytes) -> str | None:
    return _BY_NAME.get(path.suffix.lower()) or (
        "is the data of a TensorFlow checkpoint, which holds no network. Load it in Python and "
        "save the model as .keras."
        if ".data-0" in path.name or path.suffix == ".index"
        else None
    )


def _other(path: Path, head: bytes) -> str:
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return (
            f"is neither a zip archive nor HDF5, so no {path.suffix} file: truncated, damaged or "
            "misnamed. Copy or save it again."
        )
    return f"is no model that edgevit reads. {KNOWN}."


_FROZEN = (
    "is a TensorFlow graph on its own. Give the SavedModel folder with saved_model.pb, or the "
    "Keras model."
)
_ARRAYS = "holds arrays without a network. Save the whole model with Keras, as .keras."
_PICTURE = "is a picture. Give the model here, and pictures with --calibration or --data."
_PACKED = "is an archive. Unpack it and give the model inside."
_PICKLE = "is a Python pickle. Save the model with model.save('model.keras')."
_BY_NAME = {
    ".pb": _FROZEN,
    ".pbtxt": _FROZEN,
    ".npz": _ARRAYS,
    ".npy": _ARRAYS,
    ".gz": _PACKED,
    ".tar": _PACKED,
    ".tgz": _PACKED,
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
    **dict.fromkeys(PICTURE_SUFFIXES, _PICTURE),
}
_FILES: tuple[Callable[[Path, bytes], str | None], ...] = (
    _empty,
    _tflite,
    _onnx,
    _torch,
    _zip,
    _hdf5,
    _text,
    _named,
    _other,
)


def _of_one_model(path: Path) -> str | None:
    models = [file for file in sorted(path.iterdir()) if file.suffix in (".keras", ".h5", ".hdf5")]
    if not models:
        return None
    return f"is a folder with models inside. Name one of them, such as {models[0]}."


def _checkpoint(path: Path) -> str | None:
    if (path / "checkpoint").exists() or any(path.glob("*.index")):
        return (
            "is a TensorFlow checkpoint, which holds no network. Load it in Python and save the "
            "model as .keras."
        )
    return None


def _of_other_tools(path: Path) -> str | None:
    if (path / "model.json").exists():
        return f"is a TensorFlow.js model. {FROM_KERAS}."
    if (path / "config.json").exists():
        return (
            "is a folder with a config, and without model.weights.h5 of Keras beside it. Load the "
            "model in Python and save it as .keras."
        )
    return None


def _of_pictures(path: Path) -> str | None:
    inside = (file for folder in (path, *_folders(path)) for file in folder.iterdir())
    if any(file.suffix.lower() in PICTURE_SUFFIXES for file in inside):
        return (
            "is a folder of pictures. Give the model here, and these with --calibration or --data."
        )
    return None


def _folders(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir()]


def _no_model(path: Path) -> str:
    return (
        f"no such weights: the folder holds no weights.safetensors of a training run, and no "
        f"model. {KNOWN}."
    )


_FOLDERS: tuple[Callable[[Path], str | None], ...] = (
    _of_one_model,
    _checkpoint,
    _of_other_tools,
    _of_pictures,
    _no_model,
)
