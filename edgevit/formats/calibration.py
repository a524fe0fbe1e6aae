"""Calibration: one record of ranges, made the same way for every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from edgevit.base.documents import VERSION, read_json, to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import write_whole
from edgevit.base.loading import load_attribute
from edgevit.base.progress import Progress, Status
from edgevit.core.format import Format
from edgevit.core.signature import InputSpec
from edgevit.data.calibration import CalibrationSample, split_off
from edgevit.formats.registry import FORMATS
from edgevit.frontend.source import ExportOptions, Source
from edgevit.quantization.clipping import DEFAULT_METHOD, find_method
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord
from edgevit.quantization.trial import Trial, TriedRecord

KIND = "edgevit.calibration"
CALIBRATION_IMAGES = 300
LEARNT, JUDGED = 150, 150  # of them at most: to round weights for, and to compare files on


def calibrate(
    kind: Format,
    source: Source,
    options: ExportOptions,
    sample: CalibrationSample,
    method: str = DEFAULT_METHOD,
    histograms: bool = False,
    progress: Callable[[int, int], None] | None = None,
    others: Sequence[Observer] = (),
    own: int | None = None,
) -> RangeRecord:
    """Measures the activation ranges of a model on raw images.

    Args:
        kind: format whose float graph is run.
        source: the model.
        options: of this format; the batch is one.
        sample: training images.
        method: how ranges are chosen, a key of METHODS.
        histograms: whether the record keeps them, so that another method can choose later.
        progress: called with (images done, images in all).
        others: observers that saw a part of the sample elsewhere.
        own: how many of the first samples they have not seen; None: all.

    Raises:
        UnknownNameError: no such method.
        ConfigError: a format without activation ranges.
        ExportError: an activation is not finite.
    """
    find_method(method)
    _find_observe(kind)  # refuses before anything else
    observer = Observer(histograms or method != DEFAULT_METHOD)
    for other in others:
        observer.absorb(other)
    inputs = {name: values[:own] for name, values in sample.inputs.items()}
    found = observe(kind, source, options, inputs, observer, progress)
    options = single(options)
    record = RangeRecord(
        ranges={name: (value.low, value.high) for name, value in found.items()},
        images=len(sample),
        source=sample.source,
        images_sha256=sample.digest,
        weights_sha256=source.weights_sha256,
        graph=describe_graph(source, kind, options),
        histograms={name: v.histogram for name, v in found.items() if v.histogram is not None},
        means={name: value.means for name, value in found.items() if value.means is not None},
        channels={name: v.channels.to_text() for name, v in found.items() if v.channels},
    ).clipped(method)
    return record if histograms else replace(record, histograms={})


def _keep_samples(record: RangeRecord, sample: CalibrationSample, say: Status) -> RangeRecord:
    """The record with its samples at hand, if they are enough to compare files on."""
    parts = split_off(sample, LEARNT, JUDGED)
    if parts is None:
        return record
    learnt, judged = parts
    found = {field.name: getattr(record, field.name) for field in fields(record)}
    return TriedRecord(**found, trial=Trial(learnt.inputs, judged.inputs, say))


def single(options: ExportOptions) -> ExportOptions:
    """Options of the graph that is observed: one sample a run, in its own type."""
    return replace(options, batch=1, io_dtype=None)


def observe(
    kind: Format,
    source: Source,
    options: ExportOptions,
    inputs: dict[str, np.ndarray],
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """Runs the float graph of a format on samples; arguments as in :func:`calibrate`.

    Raises:
        ConfigError: a format without activation ranges.
    """
    found: dict[str, Observation]
    found = _find_observe(kind)(source, single(options), inputs, observer, progress)
    return found


def _find_observe(kind: Format) -> Callable[..., dict[str, Observation]]:
    place = FORMATS[kind].observe
    if place is None:
        raise ConfigError(f"{kind} files hold no activation ranges: nothing is calibrated.")
    observe: Callable[..., dict[str, Observation]] = load_attribute(place)
    return observe


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
        document = read_json(path, "the calibration record")
    except ModelFileError as error:
        raise ModelFileError(f"{error} 'edgevit calibrate' writes one.") from None
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


def describe_graph(source: Source, kind: Format, options: ExportOptions) -> str:
    """What a calibration record is valid for: sizes and passes, not weights."""
    inside = "raw images" if options.preprocess else "bare network"
    sizes = " ".join(map(_describe_size, source.signature.inputs))
    others = sorted(spec.name for spec in source.signature.outputs if spec.name != "logits")
    parts = [f"{source.name} {sizes}", inside]
    parts += [f"also {', '.join(others)}"] if others else []
    describe = FORMATS[kind].describe_graph
    parts += [load_attribute(describe)(options)] if describe else []
    return ", ".join(parts)


def _describe_size(spec: InputSpec) -> str:
    """Rows and columns of RGB pictures, all sizes of anything else."""
    if spec.preparation and len(spec.shape) == 4 and spec.shape[-1] == 3:
        rows, columns = spec.preparation.network_size
        return f"{rows}x{columns}"
    return "x".join(str(size) for size in spec.shape[1:])


def find_ranges(
    source: Source,
    kind: Format,
    options: ExportOptions,
    sample: CalibrationSample | None,
    file: Path | None,
    say: Status,
    progress: Progress | None = None,
) -> RangeRecord:
    """Activation ranges: measured on given samples, out of a file, or shipped with the weights.

    Args:
        source: the model.
        kind: format whose float graph is measured.
        options: of this format.
        sample: to measure on; None: a record that exists.
        file: of 'edgevit calibrate'; None: shipped ranges.
        say: told what is being done.
        progress: called with (samples done, samples in all).

    Raises:
        ConfigError: none is there, or they belong to other weights or another graph.
        ModelFileError: the file is no record.
    """
    if sample is not None:
        say(f"calibrating {kind} on {len(sample)} samples")
        record = calibrate(kind, source, options, sample, progress=progress)
        return _keep_samples(record, sample, say)
    if file is not None:
        ranges, whose = read_record(file, kind), f"the activation ranges of {file}"
        remedy = "Run 'edgevit calibrate' with the same model and options."
    else:
        found, whose = source.ranges.get(kind), "the shipped activation ranges"
        if found is None:
            raise ConfigError(
                f"{source.name}: no activation ranges ship with these weights for {kind}. Give "
                "--calibration PATH with a few hundred training images (class folders, tar), or an "
                "npz with an array for each input, by its name."
            )
        ranges, remedy = found, "Give --calibration PATH to measure them anew."
    if ranges.weights_sha256 != source.weights_sha256:
        raise ConfigError(f"{source.name}: {whose} belong to other weights. {remedy}")
    graph = describe_graph(source, kind, options)
    if ranges.graph != graph:
        raise ConfigError(
            f"{source.name}: {whose} are for {ranges.graph!r}, not for {graph!r}. {remedy}"
        )
    return ranges
