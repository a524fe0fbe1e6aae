"""One export: lower, stage. The row of EXPORTERS decides how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgevit.core.target import Format, Precision, Target
from edgevit.formats.onnx.writer.convert import export_onnx
from edgevit.formats.savedmodel.writer import export_savedmodel
from edgevit.formats.tflite.writer import convert as tflite
from edgevit.frontend.source import ExportOptions, Source
from edgevit.quantization.ranges import RangeRecord

# (source, target, options, ranges, staged path) -> (content, or None for a staged folder; steps)
Exporter = Callable[
    [Source, Target, ExportOptions, RangeRecord | None, Path],
    tuple[bytes | None, tuple[str, ...]],
]

TFLITE = {
    Precision.FLOAT32: tflite.write_float32,
    Precision.FLOAT16: tflite.write_float16,
    Precision.DYNAMIC: tflite.write_dynamic,
    Precision.DYNAMIC_INT4: tflite.write_dynamic_int4,
    Precision.INT8: tflite.write_int8,
    Precision.INT16X8: tflite.write_int16x8,
    Precision.MIXED: tflite.write_mixed,
}


def export_tflite(
    source: Source,
    target: Target,
    options: ExportOptions,
    ranges: RangeRecord | None,
    staged: Path,
) -> tuple[bytes, tuple[str, ...]]:
    write = tflite.write_int8_micro if options.micro else TFLITE[target.precision]
    written = write(source, options, ranges, staged)
    written.finish({})
    return staged.read_bytes(), written.steps


EXPORTERS: dict[Format, Exporter] = {
    Format.SAVEDMODEL: lambda source, target, options, ranges, path: (
        None,
        export_savedmodel(source, options, path),
    ),
    Format.TFLITE: lambda source, target, options, ranges, path: export_tflite(
        source, target, options, ranges, path
    ),
    Format.ONNX: lambda source, target, options, ranges, path: export_onnx(
        source, target, options, ranges
    ),
}
