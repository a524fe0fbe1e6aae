"""A kit for browsers: one static page around onnxruntime-web."""

from __future__ import annotations

import html

from edgevit.base.errors import ConfigError
from edgevit.kits.place import Files, common_words, describe_files, read_templates
from edgevit.kits.subject import Subject

ONNXRUNTIME_WEB = "1.30.0"  # that the tests run


def build(subject: Subject) -> Files:
    """The files of the kit.

    Args:
        subject: an ONNX file.

    Raises:
        ConfigError: another kind of file.
    """
    if subject.is_tflite:
        raise ConfigError(
            f"{subject.path}: the page runs onnxruntime-web, which reads .onnx files. Export "
            "onnx-float32 or onnx-int8 and deploy that."
        )
    words = {**common_words(subject), "ONNXRUNTIME_WEB": ONNXRUNTIME_WEB}
    shown = {word: html.escape(text) for word, text in words.items()}  # a name may hold a tag
    return {**describe_files(subject), **read_templates("browser", shown)}
