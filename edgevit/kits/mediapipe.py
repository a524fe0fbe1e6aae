"""A kit for MediaPipe Tasks: the file with standard metadata, and the lines of each platform."""

from __future__ import annotations

from edgevit.base.errors import ConfigError
from edgevit.kits.place import Files, common_words, describe_files, read_templates
from edgevit.kits.subject import Subject, is_picture

BORDERS = ("uint8", "float32")  # element types that the tasks take
STANDARD = "TFLITE_METADATA"
RGB = 3  # channels of the pictures that the tasks take
_TASKS = {
    "classification": ("ImageClassifier", "classify"),
    "segmentation": ("ImageSegmenter", "segment"),
    "embedding": ("ImageEmbedder", "embed"),
}
# A segmenter returns confidences unless it is asked for classes.
_MASK_OPTIONS = {
    "KOTLIN_OPTIONS": "            .setOutputCategoryMask(true)\n",
    "SWIFT_OPTIONS": "        options.shouldOutputCategoryMask = true\n",
    "WEB_OPTIONS": "  outputCategoryMask: true,\n",
}


def build(subject: Subject) -> Files:
    """The files of the kit.

    Args:
        subject: a TFLite file of one picture, for a task that MediaPipe has.

    Raises:
        ConfigError: MediaPipe refuses such a file; what to export instead.
    """
    check(subject)
    task, verb = _TASKS[subject.manifest.task]
    words = {
        **common_words(subject),
        "PICTURE_TASK": task,
        "SNAKE_PACKAGE": task.lower(),
        "VERB": verb,
        "STEM": subject.path.stem,
        **(_MASK_OPTIONS if verb == "segment" else dict.fromkeys(_MASK_OPTIONS, "")),
    }
    return {**describe_files(subject), **read_templates("mediapipe", words)}


def check(subject: Subject) -> None:
    """Refuses what MediaPipe refuses.

    Raises:
        ConfigError: with what to export instead.
    """
    path, manifest = subject.path, subject.manifest
    if not subject.is_tflite:
        raise ConfigError(f"{path}: MediaPipe reads TFLite files. Export tflite-float32.")
    if manifest.task not in _TASKS:
        raise ConfigError(
            f"{path}: a model for {manifest.task}; MediaPipe has tasks for {', '.join(_TASKS)}. "
            "Deploy it --to python, or call LiteRT."
        )
    if len(subject.inputs) != 1 or not is_picture(subject.inputs[0][1]):
        raise ConfigError(
            f"{path}: MediaPipe's tasks take one picture, and this takes "
            f"{', '.join(spec.name for spec, _ in subject.inputs)}. Deploy it --to python, or call "
            "LiteRT."
        )
    channels = subject.inputs[0][1].shape[-1]
    if channels != RGB:
        raise ConfigError(
            f"{path}: takes pictures of {channels} channels, and MediaPipe hands over R, G, B. "
            "Deploy it --to python, or give the model an RGB input."
        )
    check_borders(subject)
    if STANDARD.encode() not in path.read_bytes():
        raise ConfigError(
            f"{path}: an earlier version wrote it, without TFLite Metadata. Export it again."
        )


def check_borders(subject: Subject) -> None:
    """Refuses element types and batches that the tasks do not take.

    Raises:
        ConfigError: with the options to export with.
    """
    path, entering = subject.path, subject.manifest.inputs[0]
    if entering.shape[0] != 1:
        raise ConfigError(f"{path}: MediaPipe takes a batch of one. Export it with --batch 1.")
    if entering.dtype not in BORDERS:
        raise ConfigError(
            f"{path}: takes {entering.dtype}, and MediaPipe hands over {' or '.join(BORDERS)}. "
            "Export it with --io-dtype uint8."
        )
    for spec in subject.manifest.outputs:
        if spec.dtype not in BORDERS:
            wanted = "--output-dtype uint8" if spec.dtype == "int8" else "--format tflite-mixed"
            raise ConfigError(
                f"{path}: returns {spec.dtype}, and MediaPipe reads {' or '.join(BORDERS)}. Export "
                f"it with {wanted}."
            )
