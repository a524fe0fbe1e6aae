"""One export: lower, stage. The row of EXPORTERS decides how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgevit.core.target import Format, Target
from edgevit.formats.onnx.writer.convert import export_onnx
from edgevit.formats.savedmodel.writer import export_savedmodel
from edgevit.formats.tflite.writer.convert import export_tflite
from edgevit.frontend.source import ExportOptions, Source
from edgevit.quantization.ranges import RangeRecord

# (source, target, options, ranges, staged path) -> (content, or None for a staged folder; steps)
Exporter = Callable[
    [Source, Target, ExportOptions, RangeRecord | None, Path],
    tuple[bytes | None, tuple[str, ...]],
]

EXPORTERS: dict[Format, Exporter] = {
    Format.SAVEDMODEL: lambda source, target, options, ranges, path: (
        None,
        export_savedmodel(source, options, path),
    ),
    Format.TFLITE: lambda source, target, options, ranges, path: export_tflite(
        source, target, options, ranges
    ),
    Format.ONNX: lambda source, target, options, ranges, path: export_onnx(
        source, target, options, ranges
    ),
}
