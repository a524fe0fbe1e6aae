"""The ONNX targets, one row each."""

from __future__ import annotations

from functools import partial

from edgevit.core.target import Precision, Target
from edgevit.core.tolerance import (
    DENSE_8BIT,
    EXACT,
    HALF_ARITHMETIC,
    WEIGHTS_8BIT,
    WINOGRAD,
)
from edgevit.formats.onnx.format import SPEC

_WRITER = "edgevit.formats.onnx.writer.convert"
_row = partial(
    Target,
    format=SPEC.format,
    suffix=SPEC.suffix,
    runtimes=("onnxruntime",),
    clients="onnxruntime; onnxruntime-web",
)

TARGETS = (
    _row(
        "onnx-float32",
        precision=Precision.FLOAT32,
        write=f"{_WRITER}:write_float32",
        tolerance=EXACT,
        summary="ONNX for onnxruntime, float32 throughout",
    ),
    _row(
        "onnx-float32-cpu",
        precision=Precision.FLOAT32,
        write=f"{_WRITER}:write_float32_cpu",
        tolerance=WINOGRAD,
        summary="ONNX for CPUs: wide 3x3 convolutions with fewer products, in a larger file",
    ),
    _row(
        "onnx-float16",
        precision=Precision.FLOAT16,
        write=f"{_WRITER}:write_float16",
        tolerance=HALF_ARITHMETIC,
        summary="ONNX, float16 weights and arithmetic for GPUs and NPUs; float32 in and out",
    ),
    _row(
        "onnx-dynamic",
        precision=Precision.DYNAMIC,
        write=f"{_WRITER}:write_dynamic",
        tolerance=WEIGHTS_8BIT,
        summary="ONNX, int8 Dense weights, activations quantised on the fly",
    ),
    _row(
        "onnx-int8",
        precision=Precision.INT8,
        write=f"{_WRITER}:write_int8",
        tolerance=DENSE_8BIT,
        summary="ONNX, 8-bit Dense and Conv layers (QDQ), float32 in between",
        needs_calibration=True,
    ),
)
