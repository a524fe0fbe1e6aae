"""The TFLite targets, one row each."""

from __future__ import annotations

from functools import partial

from edgevit.core.target import Precision, Target
from edgevit.core.tolerance import (
    ACTIVATIONS_16BIT,
    ALL_8BIT,
    DENSE_8BIT,
    EXACT,
    HALF,
    WEIGHTS_4BIT,
    WEIGHTS_8BIT,
)
from edgevit.formats.tflite.format import SPEC

_WRITER = "edgevit.formats.tflite.writer.convert"
# What takes files as they are written by default, a uint8 picture in: MediaPipe Tasks is asked by
# make test-mediapipe, TensorFlow Lite Micro by verify; LiteRT.js was tried by hand, and refuses
# integers at its borders.
_FLOATS_OUT = "LiteRT; MediaPipe Tasks; LiteRT.js with --io-dtype float32"
_INTEGERS_OUT = "LiteRT, NPUs and DSPs; MediaPipe Tasks with --output-dtype uint8 or float32"
_row = partial(
    Target, format=SPEC.format, suffix=SPEC.suffix, runtimes=("litert", "litert-reference")
)

TARGETS = (
    _row(
        "tflite-float32",
        precision=Precision.FLOAT32,
        write=f"{_WRITER}:write_float32",
        tolerance=EXACT,
        summary="LiteRT, float32 throughout",
        clients=_FLOATS_OUT,
    ),
    _row(
        "tflite-float16",
        precision=Precision.FLOAT16,
        write=f"{_WRITER}:write_float16",
        tolerance=HALF,
        summary="LiteRT, float16 weights: half the size",
        clients=_FLOATS_OUT,
    ),
    _row(
        "tflite-dynamic",
        precision=Precision.DYNAMIC,
        write=f"{_WRITER}:write_dynamic",
        tolerance=WEIGHTS_8BIT,
        summary="LiteRT, int8 weights, activations quantised on the fly",
        clients=_FLOATS_OUT,
    ),
    _row(
        "tflite-int8",
        precision=Precision.INT8,
        write=f"{_WRITER}:write_int8",
        tolerance=ALL_8BIT,
        summary="LiteRT, integers from input to output, for any CPU, NPU or DSP",
        needs_calibration=True,
        integer_only=True,
        clients=_INTEGERS_OUT,
    ),
    _row(
        "tflite-int8-micro",
        precision=Precision.INT8,
        write=f"{_WRITER}:write_int8_micro",
        tolerance=ALL_8BIT,
        summary="the same in operators that TensorFlow Lite Micro has, for microcontrollers",
        needs_calibration=True,
        integer_only=True,
        fixed_batch=True,
        runtimes_if_installed=("tflm",),
        clients=f"TensorFlow Lite Micro; {_INTEGERS_OUT}",
    ),
    _row(
        "tflite-int8-npu",
        precision=Precision.INT8,
        write=f"{_WRITER}:write_int8_npu",
        tolerance=ALL_8BIT,
        summary="the same in operators that Arm's Ethos-U NPUs run, none of them on the CPU",
        needs_calibration=True,
        integer_only=True,
        fixed_batch=True,
        clients=f"Vela for Ethos-U; {_INTEGERS_OUT}",
    ),
    _row(
        "tflite-mixed",
        precision=Precision.MIXED,
        write=f"{_WRITER}:write_mixed",
        tolerance=DENSE_8BIT,
        summary="LiteRT for CPUs: int8 where it is faster, float islands where it is not",
        needs_calibration=True,
        clients=_FLOATS_OUT,
    ),
    _row(
        "tflite-int16x8",
        precision=Precision.INT16X8,
        write=f"{_WRITER}:write_int16x8",
        tolerance=ACTIVATIONS_16BIT,
        summary="LiteRT, integers throughout: int16 activations, int8 weights",
        needs_calibration=True,
        integer_only=True,
        clients="LiteRT, NPUs and DSPs; MediaPipe Tasks takes no int16",
    ),
    _row(
        "tflite-dynamic-int4",
        precision=Precision.DYNAMIC_INT4,
        write=f"{_WRITER}:write_dynamic_int4",
        tolerance=WEIGHTS_4BIT,
        summary="LiteRT, 4-bit Dense weights, activations quantised on the fly",
        clients=_FLOATS_OUT,
    ),
)
