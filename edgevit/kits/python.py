"""A kit for Python: numpy, Pillow and the runtime of the file."""

from __future__ import annotations

from edgevit.kits.place import Files, common_words, describe_files, read_templates
from edgevit.kits.subject import Subject, is_picture

_PACKAGES = {True: "ai-edge-litert", False: "onnxruntime"}


def build(subject: Subject) -> Files:
    """The files of the kit.

    Args:
        subject: any TFLite or ONNX file.
    """
    needed = ("numpy", "pillow", _PACKAGES[subject.is_tflite])
    return {
        **describe_files(subject),
        **read_templates("python", {**common_words(subject), "RUN": _example(subject)}),
        "requirements.txt": "".join(f"{name}\n" for name in needed).encode(),
    }


def _example(subject: Subject) -> str:
    """The arguments of a first run."""
    one = sum(is_picture(spec) for _, spec in subject.inputs) == 1
    return " ".join(
        "photo.jpg" if one and is_picture(spec) else f"{spec.name}={spec.name}.npy"
        for _, spec in subject.inputs
    )
