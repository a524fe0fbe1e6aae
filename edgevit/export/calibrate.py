"""Calibration: one record of ranges, made the same way for every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevit.core.errors import ConfigError, ModelFileError
from edgevit.core.files import write_whole
from edgevit.core.serialization import VERSION, to_json
from edgevit.core.targets import Format
from edgevit.data.calibration import CalibrationSample
from edgevit.export.onnx import observe_onnx
from edgevit.export.quantize.clipping import DEFAULT_METHOD, find_method
from edgevit.export.quantize.observer import Observation, Observer
from edgevit.export.quantize.ranges import RangeRecord, describe_graph
from edgevit.export.source import ExportOptions, Source
from edgevit.export.tflite import observe_tflite

KIND = "edgevit.calibration"

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
