"""What is really inside a file, and what a target must not contain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgevit.base.errors import ExportError
from edgevit.base.loading import load_attribute
from edgevit.core.format import Format
from edgevit.core.inspection import FLOAT_TYPES, Inspection
from edgevit.core.target import Target
from edgevit.formats.registry import FORMATS, check_sound, choose_runtime, count_cost


def inspect(path: str | Path, optimized: bool = False, work: bool = False) -> Inspection:
    """Lists what is inside an exported file.

    Args:
        path: the file or folder.
        optimized: for ONNX, list the operators that onnxruntime really runs as well.
        work: for TFLite and ONNX, count multiply-accumulates as well.

    Raises:
        ModelFileError: no such file, or damaged.
        RuntimeFailure: its runtime refuses it.
    """
    path = Path(path)
    row = choose_runtime(path)
    check_sound(path, row)
    found = list_contents(path)
    if optimized and found.format == Format.ONNX and not found.custom_ops:
        from edgevit.formats.onnx.runtime.profiler import optimized_ops

        found = replace(found, optimized_ops=optimized_ops(path))
    if work:
        found = replace(found, work=count_cost(path))
    return found


def list_contents(path: Path) -> Inspection:
    """Lists what is inside a file, damaged or not.

    Raises:
        ModelFileError: no such file, or no model in it.
        RuntimeFailure: its runtime refuses it.
    """
    found: Inspection = load_attribute(FORMATS[choose_runtime(path).format].inspect)(path)
    return found


def audit(inspection: Inspection, target: Target, name: str) -> None:
    """Refuses what a target must not contain.

    Raises:
        ExportError: a custom or Flex op, or a float tensor in an integer-only file other than its
            own input and output, where the user asked for float ones.
    """
    if inspection.custom_ops:
        raise ExportError(
            f"{name}: {', '.join(inspection.custom_ops)} is no builtin operator of "
            f"{inspection.format}, so an edge runtime refuses the file. It was not written."
        )
    if target.integer_only and not (inspection.integer_only or _floats_at_borders(inspection)):
        listed = ", ".join(f"{count} {op}" for op, count in sorted(inspection.float_ops.items()))
        raise ExportError(
            f"{name}: {target.name} must hold integers only, but these operators touch floats: "
            f"{listed}. It was not written. tflite-mixed and tflite-dynamic may keep floats."
        )


def _floats_at_borders(inspection: Inspection) -> bool:
    """Whether the file's own inputs and outputs are its only float tensors."""
    borders = [s for s in (*inspection.inputs, *inspection.outputs) if s.dtype in FLOAT_TYPES]
    floats = sum(inspection.tensor_types.get(kind, 0) for kind in FLOAT_TYPES)
    return floats == len(borders) and set(inspection.float_ops) <= {"QUANTIZE", "DEQUANTIZE"}
