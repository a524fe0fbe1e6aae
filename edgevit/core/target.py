"""What a model can be exported to. Adding a target adds a row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgevit.base.errors import UnknownNameError


class Format(StrEnum):
    """File format."""

    SAVEDMODEL = "savedmodel"
    TFLITE = "tflite"
    ONNX = "onnx"


class Precision(StrEnum):
    """Number format of weights and arithmetic."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"  # float16 weights; in TFLite with float32 arithmetic
    DYNAMIC = "dynamic"  # int8 weights, activations quantised on the fly
    DYNAMIC_INT4 = "dynamic-int4"  # likewise with 4-bit weights
    INT8 = "int8"  # int8 weights, activations quantised with calibrated ranges
    INT16X8 = "int16x8"  # int8 weights, int16 activations
    MIXED = "mixed"  # each operator in what is fastest: float32, dynamic or int8


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from the float model and still pass. All limits must hold.

    Attributes:
        max_abs: largest |difference| of any logit, absolute; of any further output, in units of
            its largest value where that is above 1. None: no limit.
        max_relative: mean |difference| of the logits over their standard deviation.
        min_agreement: share of images with the same top-1 class, in [0, 1].
        max_relative_other: mean |difference| of any further output (an attention map, say) over
            its standard deviation.
        reason: why these limits.
    """

    max_abs: float | None
    max_relative: float
    min_agreement: float
    max_relative_other: float
    reason: str


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        format: file format.
        precision: of weights and arithmetic.
        runtime: name of the runtime that verifies it, a key of OPENERS.
        suffix: of the file name; "" for a folder.
        needs_calibration: whether activation ranges are needed.
        integer_only: whether a float tensor anywhere is a defect.
        tolerance: policy of the verdict.
        summary: one line for people.
    """

    format: Format
    precision: Precision
    runtime: str
    suffix: str
    needs_calibration: bool
    integer_only: bool
    tolerance: Tolerance
    summary: str

    @property
    def name(self) -> str:
        """``<format>-<precision>``; a SavedModel has one precision and goes without."""
        return (
            str(self.format)
            if self.format is Format.SAVEDMODEL
            else f"{self.format}-{self.precision}"
        )

    def file_name(self, model: str) -> str:
        """What the file of a model is called."""
        return f"{model}-{self.name}{self.suffix}"


EXACT = Tolerance(
    max_abs=1e-4,
    max_relative=1e-5,
    min_agreement=1.0,
    max_relative_other=1e-4,
    reason="same float32 arithmetic in another order",
)
# 2 ** -12 a product, and eight blocks of four products each, come to some 0.15 %; ViT with seeded
# weights was measured at 0.15 to 0.21 %, with logits 0.06 apart and the same classes.
HALF = Tolerance(
    max_abs=8e-2,
    max_relative=4e-3,
    min_agreement=0.98,
    max_relative_other=2e-2,
    reason="weights rounded to 11 significant bits",
)
HALF_ARITHMETIC = Tolerance(
    max_abs=8e-2,
    max_relative=4e-3,
    min_agreement=0.98,
    max_relative_other=2e-2,
    reason="weights and activations rounded to 11 significant bits",
)
WEIGHTS_8BIT = Tolerance(
    max_abs=None,
    max_relative=0.08,
    min_agreement=0.90,
    max_relative_other=0.25,
    reason="weights rounded to 8 bits a channel, activations to 8 bits a row",
)
DENSE_8BIT = Tolerance(
    max_abs=None,
    max_relative=0.10,
    min_agreement=0.85,
    max_relative_other=0.30,
    reason="inputs and weights of weighted layers rounded to 8 bits; all in between is float32",
)
WEIGHTS_4BIT = Tolerance(
    max_abs=None,
    max_relative=0.30,
    min_agreement=0.70,
    max_relative_other=0.50,
    reason="weights rounded to 4 bits: 15 levels a channel; accuracy tells more than this",
)
ACTIVATIONS_16BIT = Tolerance(
    max_abs=None,
    max_relative=0.08,
    min_agreement=0.90,
    max_relative_other=0.25,
    reason="weights rounded to 8 bits a channel, activations to 16 bits",
)
ALL_8BIT = Tolerance(
    max_abs=None,
    max_relative=0.20,
    min_agreement=0.80,
    max_relative_other=0.50,
    reason="every tensor rounded to 8 bits; drawn images lie closer to class borders than photos",
)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            Format.SAVEDMODEL,
            Precision.FLOAT32,
            runtime="tensorflow",
            suffix="",
            needs_calibration=False,
            integer_only=False,
            tolerance=EXACT,
            summary="TensorFlow SavedModel folder, for servers and other converters",
        ),
        Target(
            Format.TFLITE,
            Precision.FLOAT32,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=False,
            integer_only=False,
            tolerance=EXACT,
            summary="LiteRT, float32 throughout",
        ),
        Target(
            Format.TFLITE,
            Precision.FLOAT16,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=False,
            integer_only=False,
            tolerance=HALF,
            summary="LiteRT, float16 weights: half the size",
        ),
        Target(
            Format.TFLITE,
            Precision.DYNAMIC,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=False,
            integer_only=False,
            tolerance=WEIGHTS_8BIT,
            summary="LiteRT, int8 weights, activations quantised on the fly",
        ),
        Target(
            Format.TFLITE,
            Precision.INT8,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=True,
            integer_only=True,
            tolerance=ALL_8BIT,
            summary="LiteRT, integers from input to output, for any CPU, NPU or DSP",
        ),
        Target(
            Format.TFLITE,
            Precision.MIXED,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=True,
            integer_only=False,
            tolerance=DENSE_8BIT,
            summary="LiteRT for CPUs: int8 where it is faster, float islands where it is not",
        ),
        Target(
            Format.TFLITE,
            Precision.INT16X8,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=True,
            integer_only=True,
            tolerance=ACTIVATIONS_16BIT,
            summary="LiteRT, integers throughout: int16 activations, int8 weights",
        ),
        Target(
            Format.TFLITE,
            Precision.DYNAMIC_INT4,
            runtime="litert",
            suffix=".tflite",
            needs_calibration=False,
            integer_only=False,
            tolerance=WEIGHTS_4BIT,
            summary="LiteRT, 4-bit Dense weights, activations quantised on the fly",
        ),
        Target(
            Format.ONNX,
            Precision.FLOAT32,
            runtime="onnxruntime",
            suffix=".onnx",
            needs_calibration=False,
            integer_only=False,
            tolerance=EXACT,
            summary="ONNX for onnxruntime, float32 throughout",
        ),
        Target(
            Format.ONNX,
            Precision.FLOAT16,
            runtime="onnxruntime",
            suffix=".onnx",
            needs_calibration=False,
            integer_only=False,
            tolerance=HALF_ARITHMETIC,
            summary="ONNX, float16 weights and arithmetic for GPUs and NPUs; float32 in and out",
        ),
        Target(
            Format.ONNX,
            Precision.DYNAMIC,
            runtime="onnxruntime",
            suffix=".onnx",
            needs_calibration=False,
            integer_only=False,
            tolerance=WEIGHTS_8BIT,
            summary="ONNX, int8 Dense weights, activations quantised on the fly",
        ),
        Target(
            Format.ONNX,
            Precision.INT8,
            runtime="onnxruntime",
            suffix=".onnx",
            needs_calibration=True,
            integer_only=False,
            tolerance=DENSE_8BIT,
            summary="ONNX, 8-bit Dense and Conv layers (QDQ), float32 in between",
        ),
    )
}


def find_target(name: str) -> Target:
    """The target of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise UnknownNameError(
            "format", name, [*TARGETS, "all"], "Run 'edgevit targets' for the list."
        ) from None


def find_targets(names: str) -> list[Target]:
    """Targets of a comma-separated list; "all" in it is every row.

    Raises:
        UnknownNameError: one of the names is unknown.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()] or [""]
    rows = [list(TARGETS.values()) if name == "all" else [find_target(name)] for name in wanted]
    return list(dict.fromkeys(target for row in rows for target in row))
