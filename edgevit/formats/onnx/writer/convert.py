"""ONNX files: the float32 graph, and what each target makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgevit.base.errors import ExportError, MissingDependencyError
from edgevit.core.target import Precision, Target
from edgevit.frontend.source import ExportOptions, Source
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord

if TYPE_CHECKING:
    import onnx_ir as ir


def export_onnx(
    source: Source, target: Target, options: ExportOptions, ranges: RangeRecord | None
) -> tuple[bytes, tuple[str, ...]]:
    """Lowers a model to one ONNX file.

    Args:
        source: what to export.
        target: a row of TARGETS with format onnx.
        options: batch, preprocessing, input type, opset, optimization.
        ranges: of :func:`edgevit.formats.calibration.calibrate`; needed for int8.

    Returns:
        (content, steps taken).

    Raises:
        ExportError: tf2onnx refuses the graph, leaves an operator that is not ONNX, or ranges are
            missing or of another graph.
        MissingDependencyError: tf2onnx or onnx is not installed.
    """
    _check_libraries()
    from edgevit.formats.onnx.writer.content import serialise
    from edgevit.formats.onnx.writer.float_graph import copy_float_model

    if target.needs_calibration and ranges is None:
        raise ExportError(f"{target.name} needs activation ranges. Give --calibration PATH.")
    model, steps = copy_float_model(source, options)
    if target.needs_calibration and ranges is not None:
        steps += (f"activation ranges of {ranges.images} images ({ranges.source})",)
    try:
        steps += _finish(model, target.precision, options.optimize, ranges)
    except ExportError as error:
        raise ExportError(f"{source.name}: {target.name}: {error}") from None
    return serialise(model), steps


def _finish(
    model: ir.Model, precision: Precision, optimize: str | None, ranges: RangeRecord | None
) -> tuple[str, ...]:
    from edgevit.formats.onnx.writer.names import make_names_canonical
    from edgevit.formats.onnx.writer.passes.table import EXTRA_PASSES, FLOAT_PASSES
    from edgevit.formats.onnx.writer.quantize.dynamic import quantize_dynamic
    from edgevit.formats.onnx.writer.quantize.half import to_half
    from edgevit.formats.onnx.writer.quantize.static import quantize_static
    from edgevit.formats.passes import report_lines, run_passes

    if precision is Precision.FLOAT32:
        passes = FLOAT_PASSES + (EXTRA_PASSES[optimize] if optimize else ())
        reports = run_passes(model, passes)
        make_names_canonical(model)
        model.producer_version = None
        return report_lines(reports)
    make_names_canonical(model)
    if precision is Precision.FLOAT16:
        return to_half(model)
    if precision is Precision.DYNAMIC:
        return quantize_dynamic(model)
    return quantize_static(model, ranges.ranges if ranges else {})


def observe_onnx(
    source: Source,
    options: ExportOptions,
    images: np.ndarray,
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """What enters and leaves the weighted layers of the ONNX graph on raw images.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        images: uint8 B H W 3, training images only.
        observer: what remembers.
        progress: called with (images done, images in all).
    """
    _check_libraries()
    from edgevit.formats.onnx.writer.float_graph import copy_float_model
    from edgevit.formats.onnx.writer.names import make_names_canonical
    from edgevit.formats.onnx.writer.quantize.ranges import observe

    model, _ = copy_float_model(source, options)
    make_names_canonical(model)
    extremes = np.stack([np.full_like(images[0], level) for level in (0, 255)])
    if not options.preprocess:
        images, extremes = (source.preprocess.apply(raw) for raw in (images, extremes))
    return observe(model, images, extremes, observer, progress)


def _check_libraries() -> None:
    """Refuses to start without one of the libraries that the writer is made of."""
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
        import onnxscript  # noqa: F401  (the passes need it)
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(error.name or "tf2onnx", "onnx", "An ONNX export") from None
