"""Keras to ONNX files: the float32 graph, and what each target makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgevit.base.errors import ExportError
from edgevit.base.memory import give_back
from edgevit.core.target import Written
from edgevit.formats.onnx.options import ANY, OnnxOptions
from edgevit.formats.onnx.runtime.file import declared_specs
from edgevit.formats.onnx.writer.content import add_documents, serialise, to_proto
from edgevit.formats.onnx.writer.float_graph import copy_float_model, copy_outputs
from edgevit.formats.onnx.writer.names import make_names_canonical
from edgevit.formats.onnx.writer.passes.table import (
    CPU_PASSES,
    FLOAT_PASSES,
    PASSES,
    ROW_PASSES,
)
from edgevit.formats.onnx.writer.quantize.dynamic import quantize_dynamic
from edgevit.formats.onnx.writer.quantize.half import to_half
from edgevit.formats.onnx.writer.quantize.ranges import observe
from edgevit.formats.onnx.writer.quantize.static import quantize_static
from edgevit.formats.onnx.writer.standard_properties import add_standard
from edgevit.formats.passes import Pass, report_lines, run_passes
from edgevit.frontend.source import Source
from edgevit.quantization.observer import ChannelRanges, Observation, Observer
from edgevit.quantization.ranges import RangeRecord


def write_float32(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Lowers a model to one ONNX file; so do all writers of this file, each its own target's.

    Args:
        source: what to export.
        options: of the target.
        ranges: of :func:`edgevit.formats.calibration.calibrate`; needed for int8.
        staged: place of the file; it is written when the documents inside it are there.

    Raises:
        ConfigError: an input type that no ONNX file has.
        ExportError: tf2onnx refuses the graph, leaves an operator that is not ONNX, or ranges are
            missing or of another graph.
    """
    return _write_rewritten(source, options, staged, FLOAT_PASSES)


def write_float32_cpu(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """float32 with rewrites that pay on CPUs only; see :func:`write_float32`."""
    return _write_rewritten(source, options, staged, FLOAT_PASSES + CPU_PASSES)


def write_float16(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """float16 weights and arithmetic; see :func:`write_float32`."""
    return _write_quantised(source, options, staged, "onnx-float16", to_half)


def write_dynamic(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """int8 weights, activations quantised at run time; see :func:`write_float32`."""
    return _write_quantised(source, options, staged, "onnx-dynamic", quantize_dynamic, ROW_PASSES)


def write_int8(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """8-bit weighted layers; see :func:`write_float32`."""
    if ranges is None:
        raise ExportError("onnx-int8 needs activation ranges. Give --calibration PATH.")
    channels = {key: ChannelRanges.from_text(text) for key, text in ranges.channels.items()}
    used = f"activation ranges of {ranges.images} images ({ranges.source})"
    caveats: list[str] = []

    def quantise(model: ir.Model) -> tuple[str, ...]:
        steps, found = quantize_static(model, ranges.ranges, channels, options.x86 == ANY)
        caveats.extend(found)
        return used, *steps

    written = _write_quantised(source, options, staged, "onnx-int8", quantise)
    return replace(written, caveats=tuple(caveats))


def observe_onnx(
    source: Source,
    options: OnnxOptions,
    inputs: Mapping[str, np.ndarray],
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """What enters and leaves the weighted layers of the ONNX graph on raw samples.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        inputs: B ... by name, as a caller hands them over; training samples only.
        observer: what remembers.
        progress: called with (samples done, samples in all).
    """
    model, _ = copy_float_model(source, options)
    make_names_canonical(model)
    pictures = {spec.name for spec in source.signature.inputs if spec.preparation}
    extremes = {
        name: np.stack([np.full_like(values[0], level) for level in (0, 255)])
        if name in pictures
        else values[:2]
        for name, values in inputs.items()
    }
    if not options.preprocess:
        names = [spec.name for spec in source.signature.inputs]
        inputs, extremes = (
            dict(zip(names, source.prepare(raw), strict=True)) for raw in (inputs, extremes)
        )
    return observe(model, inputs, extremes if pictures else {}, observer, progress)


def _write_rewritten(
    source: Source, options: OnnxOptions, staged: Path, passes: tuple[Pass[ir.Model], ...]
) -> Written:
    """A float32 file, after passes that are of no use to other precisions."""
    model, steps = copy_float_model(source, options)
    reports = run_passes(model, passes)
    make_names_canonical(model)
    model.producer_version = None  # files of other precisions have an empty one
    return _write(source, model, (*steps, *report_lines(reports)), staged)


def _write_quantised(
    source: Source,
    options: OnnxOptions,
    staged: Path,
    target: str,
    quantise: Callable[[ir.Model], tuple[str, ...]],
    passes: tuple[Pass[ir.Model], ...] = PASSES,
) -> Written:
    """A file of another precision; ``quantise`` changes the named graph and returns steps."""
    model, steps = copy_float_model(source, options, passes)
    make_names_canonical(model)
    try:
        steps += quantise(model)
    except ExportError as error:
        raise ExportError(f"{source.name}: {target}: {error}") from None
    return _write(source, model, steps, staged)


def _write(source: Source, model: ir.Model, steps: tuple[str, ...], staged: Path) -> Written:
    copy_outputs(model, [spec.name for spec in source.signature.outputs])
    give_back(source.weights_bytes)
    proto = to_proto(model)
    with staged.open("wb") as stream:
        stream.writelines(serialise(proto))
        length = stream.tell()

    def finish(documents: Mapping[str, str]) -> None:
        add_documents(staged, length, add_standard(documents, staged))

    return Written(steps, *declared_specs(proto), finish)
