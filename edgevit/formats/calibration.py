"""Calibration: one record of ranges, made the same way for every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevit.base.documents import VERSION, to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import write_whole
from edgevit.core.target import Format
from edgevit.data.calibration import CalibrationSample, sample_source
from edgevit.formats.onnx.writer.convert import observe_onnx
from edgevit.formats.tflite.writer.convert import observe_tflite
from edgevit.formats.tflite.writer.passes.table import chosen_steps
from edgevit.frontend.source import ExportOptions, Source
from edgevit.quantization.clipping import DEFAULT_METHOD, find_method
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord

KIND = "edgevit.calibration"
CALIBRATION_IMAGES = 300
Status = Callable[[str], None]
Progress = Callable[[int, int], None]

# (source, options, raw images, what remembers, progress) -> what was seen, by name
Watch = Callable[
    [Source, ExportOptions, np.ndarray, Observer, Callable[[int, int], None] | None],
    dict[str, Observation],
]
WATCHES: dict[Format, Watch] = {Format.TFLITE: observe_tflite, Format.ONNX: observe_onnx}


def calibrate(
    kind: Format,
    source: Source,
    options: ExportOptions,
    sample: CalibrationSample,
    method: str = DEFAULT_METHOD,
    histograms: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RangeRecord:
    """Measures the activation ranges of a model on raw images.

    Args:
        kind: format whose float graph is run.
        source: the model.
        options: preprocessing inside or not, surgery; the batch is one.
        sample: training images.
        method: how ranges are chosen, a key of METHODS.
        histograms: whether the record keeps them, so that another method can choose later.
        progress: called with (images done, images in all).

    Raises:
        UnknownNameError: no such method.
        ExportError: an activation is not finite.
    """
    find_method(method)
    options = replace(options, batch=1, io_dtype=None)
    observer = Observer(histograms or method != DEFAULT_METHOD)
    found = WATCHES[kind](source, options, sample.images, observer, progress)
    record = RangeRecord(
        ranges={name: (value.low, value.high) for name, value in found.items()},
        images=len(sample.images),
        source=sample.source,
        images_sha256=sample.digest,
        weights_sha256=source.weights_sha256,
        graph=describe_graph(source, options, kind),
        histograms={name: v.histogram for name, v in found.items() if v.histogram is not None},
        means={name: value.means for name, value in found.items() if value.means is not None},
    ).clipped(method)
    return record if histograms else replace(record, histograms={})


def write_records(path: Path, records: dict[Format, RangeRecord]) -> None:
    """Writes the records of one calibration as one file, whole."""
    content = {str(kind): record.to_document() for kind, record in records.items()}
    document = {"version": VERSION, "kind": KIND, "records": content}
    write_whole(path, (to_json(document, indent=1) + "\n").encode())


def read_record(path: Path, kind: Format) -> RangeRecord:
    """The record for one format out of a file of :func:`write_records`, or a single record.

    Raises:
        ModelFileError: there is none, or it is damaged.
        ConfigError: it holds none for this format.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{path}: no calibration record ({' '.join(str(error).split())[:120]}). Write one with "
            "'edgevit calibrate'."
        ) from None
    if not isinstance(document, dict):
        raise ModelFileError(f"{path}: no calibration record (it is no JSON object).")
    if "records" not in document:
        return RangeRecord.from_document(document, str(path))
    records = document["records"]
    if not isinstance(records, dict):
        raise ModelFileError(f"{path}: the calibration record is damaged (records).")
    if kind not in records:
        raise ConfigError(
            f"{path}: holds ranges for {', '.join(records) or 'nothing'}, not for {kind}. Run "
            f"'edgevit calibrate' with --format {kind}."
        )
    return RangeRecord.from_document(records[kind], str(path))


def describe_graph(source: Source, options: ExportOptions, kind: Format = Format.TFLITE) -> str:
    """What a calibration record is valid for: sizes and surgery, not weights."""
    inside = "raw images" if options.preprocess else "bare network"
    rows, columns = source.preprocess.network_size
    others = sorted(name for name in source.network.output if name != "logits")
    parts = [f"{source.name} {rows}x{columns}", inside]
    parts += [f"also {', '.join(others)}"] if others else []
    if kind is Format.TFLITE:
        parts.append(" ".join(chosen_steps(options)) or "no surgery")
    return ", ".join(parts)


def find_ranges(
    source: Source,
    options: ExportOptions,
    calibration: str | Path | np.ndarray | None,
    say: Status,
    progress: Progress | None = None,
    kind: Format = Format.TFLITE,
    file: Path | None = None,
) -> RangeRecord:
    """Activation ranges: measured on the given images, out of a file, or shipped with the weights.

    Args:
        source: the model.
        options: preprocessing inside or not; surgery.
        calibration: images, or where they are; None: a record that exists.
        say: told what is being done.
        progress: called with (images done, images in all).
        kind: format whose float graph is measured.
        file: of 'edgevit calibrate'; None: shipped ranges.

    Raises:
        ConfigError: none is there, or they belong to other weights or another graph.
        ModelFileError: the file is no record.
    """
    if calibration is not None:
        size = source.preprocess.input_size
        if isinstance(calibration, np.ndarray):
            sample = CalibrationSample.of_array(calibration, size)
        else:
            say("reading calibration images")
            sample = sample_source(calibration, size, CALIBRATION_IMAGES)
        say(f"calibrating {kind} on {len(sample.images)} images")
        return calibrate(kind, source, options, sample, progress=progress)
    if file is not None:
        ranges, whose = read_record(file, kind), f"the activation ranges of {file}"
        remedy = "Run 'edgevit calibrate' with the same model and options."
    else:
        found, whose = source.shipped_ranges(kind), "the shipped activation ranges"
        if found is None:
            raise ConfigError(
                f"{source.name}: no activation ranges ship with these weights for {kind}. Give "
                "--calibration PATH with a few hundred training images (class folders, tar, npz)."
            )
        ranges, remedy = found, "Give --calibration PATH to measure them anew."
    if ranges.weights_sha256 != source.weights_sha256:
        raise ConfigError(f"{source.name}: {whose} belong to other weights. {remedy}")
    graph = describe_graph(source, options, kind)
    if ranges.graph != graph:
        raise ConfigError(
            f"{source.name}: {whose} are for {ranges.graph!r}, not for {graph!r}. {remedy}"
        )
    return ranges
