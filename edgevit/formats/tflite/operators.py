"""What each TFLite operator is: one row an operator, for whoever reads, writes or counts.

The rules for integers are those of the TFLite 8-bit quantisation specification: activations int8
with a zero point, weights int8 and symmetric a channel, biases int32; operators that only move or
compare values keep one scale from input to output; a few have an output scale that is laid down.
Names and versions are those of the schema; names of XNNPACK's kernels are those of its profile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edgevit.core.target import Precision

Shape = Sequence[int]
# (shapes of the inputs, the operator's options) -> terms of the sum behind an output element
SumLength = Callable[[Sequence[Shape], Any], int]


class Role(Enum):
    """What an operator does with values."""

    MOVES = "moves"  # those of one tensor, each as it is
    JOINS = "joins"  # those of several tensors, or of one and a filling
    CONVERTS = "converts"  # to another element type
    COMPUTES = "computes"
    MULTIPLIES = "multiplies"  # matrices: a sum of products behind each element


@dataclass(frozen=True)
class OpSpec:
    """One operator of TFLite.

    Attributes:
        role: what it does with values.
        version: of the operator in the schema that takes int8; None: no writer here needs it.
        weights_axis: output-channel axis of the weights (input 1); None: it has none.
        bias: place of the bias among its inputs; None: it takes none.
        same_scale: whether inputs and output, written anew in integers, share scale and zero
            point.
        output: (scale, zero point) of the output where the kernel wants a certain one.
        dynamic_version: of the operator with int8 weights and float activations; None: there is
            no such kernel.
        int4_version: likewise with 4-bit weights. CONV_2D takes them as well, but only in LiteRT's
            own kernels, which cut XNNPACK's graph in two at every layer.
        version16: with int16 activations and int8 weights; None: there is no such kernel.
        output16: as output, for int16.
        sum_length: terms of the sum behind an output element; None: it multiplies no matrices, or
            is not counted, since no network of this project needs it.
        sign: of the second operand, for a sum of two; None for everything else.
        delicate: whether 8 bits take accuracy from it first: residual sums, the insides of
            LayerNormalization, attention.
        shared: whether what it computes is used for many values at once.
        kernels: families of XNNPACK's kernels that may compute it.
    """

    role: Role
    version: int | None = None
    weights_axis: int | None = None
    bias: int | None = None
    same_scale: bool = False
    output: tuple[float, int] | None = None
    dynamic_version: int | None = None
    int4_version: int | None = None
    version16: int | None = None
    output16: tuple[float, int] | None = None
    sum_length: SumLength | None = None
    sign: float | None = None
    delicate: bool = False
    shared: bool = False
    kernels: tuple[str, ...] = ()

    def version_in(self, precision: Precision) -> int | None:
        """Version of a float operator that is written anew in a precision; None: it cannot be."""
        alone = self.same_scale or self.role in (Role.COMPUTES, Role.MULTIPLIES)
        return {
            Precision.INT8: self.version if alone else None,
            Precision.INT16X8: self.version16,
            Precision.DYNAMIC: self.dynamic_version,
            Precision.DYNAMIC_INT4: self.int4_version,
        }.get(precision)

    @property
    def weighted(self) -> bool:
        """Whether it multiplies by weights, its second input."""
        return self.weights_axis is not None


PROBABILITIES = (1 / 256, -128)
SYMMETRIC = (1 / 32768, 0)
_MOVES, _JOINS, _CONVERTS, _COMPUTES, _MULTIPLIES = Role


def _dense_sum(shapes: Sequence[Shape], options: Any) -> int:
    return shapes[1][-1]  # weights: width x depth


def _convolution_sum(shapes: Sequence[Shape], options: Any) -> int:
    return math.prod(shapes[1][1:])  # O H W I


def _depthwise_sum(shapes: Sequence[Shape], options: Any) -> int:
    return math.prod(shapes[1][1:3])  # 1 H W C


def _product_sum(shapes: Sequence[Shape], options: Any) -> int:
    return shapes[0][-2 if options.adjX else -1]


OPERATORS: dict[str, OpSpec] = {
    "FULLY_CONNECTED": OpSpec(
        _MULTIPLIES,
        4,
        weights_axis=0,
        bias=2,
        dynamic_version=9,
        int4_version=12,
        version16=7,
        sum_length=_dense_sum,
        kernels=("Fully Connected", "Dynamic Fully Connected"),
    ),
    "CONV_2D": OpSpec(
        _MULTIPLIES,
        3,
        weights_axis=0,
        bias=2,
        dynamic_version=5,
        version16=4,
        sum_length=_convolution_sum,
        kernels=("Convolution", "Fully Connected"),  # a 1x1 convolution is a product
    ),
    "DEPTHWISE_CONV_2D": OpSpec(
        _MULTIPLIES,
        3,
        weights_axis=3,
        bias=2,
        version16=5,
        sum_length=_depthwise_sum,
        kernels=("Convolution",),
    ),
    "BATCH_MATMUL": OpSpec(
        _MULTIPLIES,
        2,
        version16=3,
        sum_length=_product_sum,
        delicate=True,
        shared=True,
        kernels=("Batch Matrix Multiply",),
    ),
    "TRANSPOSE_CONV": OpSpec(_MULTIPLIES, bias=3, version16=4, kernels=("Deconvolution",)),
    **dict.fromkeys(
        (
            *("CONV_3D", "CONV_3D_TRANSPOSE", "LSTM", "RNN", "SVDF", "STABLEHLO_CONVOLUTION"),
            *("STABLEHLO_DOT_GENERAL", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ),
        OpSpec(_MULTIPLIES),
    ),
    "ADD": OpSpec(_COMPUTES, 2, version16=3, sign=1.0, delicate=True, kernels=("Add",)),
    "SUB": OpSpec(_COMPUTES, 2, version16=3, sign=-1.0, delicate=True, kernels=("Subtract",)),
    "MUL": OpSpec(_COMPUTES, 2, version16=4, delicate=True, kernels=("Multiply", "Square")),
    "DIV": OpSpec(_COMPUTES, kernels=("Divide",)),
    "MEAN": OpSpec(
        _COMPUTES,
        2,
        version16=3,
        delicate=True,
        shared=True,
        kernels=("Mean", "Mean Squared", "Average Pooling"),
    ),
    "SUM": OpSpec(_COMPUTES, 2, delicate=True, shared=True, kernels=("Sum",)),
    "RSQRT": OpSpec(
        _COMPUTES, 2, version16=3, delicate=True, shared=True, kernels=("Reciprocal Square Root",)
    ),
    "SQRT": OpSpec(_COMPUTES, kernels=("Square Root",)),
    "SQUARE": OpSpec(_COMPUTES, kernels=("Square",)),
    "SQUARED_DIFFERENCE": OpSpec(_COMPUTES, kernels=("Squared Difference",)),
    "NEG": OpSpec(_COMPUTES, kernels=("Negate",)),
    "GELU": OpSpec(_COMPUTES, 2, kernels=("GELU", "ApproxGELU")),
    "HARD_SWISH": OpSpec(_COMPUTES, 1, kernels=("HardSwish",)),
    "LEAKY_RELU": OpSpec(_COMPUTES, version16=2, kernels=("LeakyReLU",)),
    "PRELU": OpSpec(_COMPUTES, kernels=("PReLU",)),
    "RELU": OpSpec(_COMPUTES, version16=3, kernels=("Clamp", "Maximum")),
    "RELU6": OpSpec(_COMPUTES, version16=3, kernels=("Clamp",)),
    "RELU_N1_TO_1": OpSpec(_COMPUTES, kernels=("Clamp",)),
    "RELU_0_TO_1": OpSpec(_COMPUTES, kernels=("Clamp",)),
    "MINIMUM": OpSpec(_COMPUTES, same_scale=True, version16=4, kernels=("Clamp", "Minimum")),
    "MAXIMUM": OpSpec(_COMPUTES, same_scale=True, version16=4, kernels=("Clamp", "Maximum")),
    "ABS": OpSpec(_COMPUTES, version16=3, kernels=("Abs",)),
    "REDUCE_MAX": OpSpec(_COMPUTES, same_scale=True, version16=3),
    "LOGISTIC": OpSpec(
        _COMPUTES, 2, output=PROBABILITIES, version16=3, output16=SYMMETRIC, kernels=("Sigmoid",)
    ),
    "SOFTMAX": OpSpec(
        _COMPUTES,
        2,
        output=PROBABILITIES,
        version16=3,
        output16=SYMMETRIC,
        delicate=True,
        shared=True,
        kernels=("Softmax",),
    ),
    "TANH": OpSpec(
        _COMPUTES, 2, output=(1 / 128, 0), version16=3, output16=SYMMETRIC, kernels=("Tanh",)
    ),
    "MAX_POOL_2D": OpSpec(_COMPUTES, 2, same_scale=True, version16=3, kernels=("Max Pooling",)),
    "AVERAGE_POOL_2D": OpSpec(
        _COMPUTES, 2, same_scale=True, version16=3, kernels=("Average Pooling", "Mean")
    ),
    "RESIZE_BILINEAR": OpSpec(
        _COMPUTES, 2, same_scale=True, version16=4, kernels=("Resize Bilinear",)
    ),
    "RESIZE_NEAREST_NEIGHBOR": OpSpec(_COMPUTES, same_scale=True, version16=4),
    "RESHAPE": OpSpec(_MOVES, 1, same_scale=True, version16=1, kernels=("Static Reshape", "Copy")),
    "SQUEEZE": OpSpec(_MOVES, 1, same_scale=True, version16=1, kernels=("Static Reshape", "Copy")),
    "EXPAND_DIMS": OpSpec(
        _MOVES,
        1,
        same_scale=True,
        version16=1,
        kernels=("Static Reshape", "Static Expand Dims", "Copy"),
    ),
    "TRANSPOSE": OpSpec(_MOVES, 2, same_scale=True, version16=4, kernels=("Transpose",)),
    "STRIDED_SLICE": OpSpec(_MOVES, 2, same_scale=True, version16=4, kernels=("Slice",)),
    "SLICE": OpSpec(_MOVES, 2, same_scale=True, version16=4, kernels=("Slice",)),
    "SPLIT": OpSpec(_MOVES, kernels=("Slice", "Copy")),
    "REVERSE_V2": OpSpec(_MOVES, same_scale=True, version16=3),
    "UNPACK": OpSpec(_MOVES, 2),
    "GATHER": OpSpec(_MOVES, 2, same_scale=True, version16=4),
    "DEPTH_TO_SPACE": OpSpec(_MOVES, kernels=("Depth To Space",)),
    "SPACE_TO_DEPTH": OpSpec(_MOVES, kernels=("Space To Depth",)),
    "PAD": OpSpec(_JOINS, 2, same_scale=True, version16=3, kernels=("Constant Pad",)),
    "PADV2": OpSpec(_JOINS, kernels=("Constant Pad",)),
    "CONCATENATION": OpSpec(_JOINS, 2, same_scale=True, version16=3, kernels=("Copy",)),
    "PACK": OpSpec(_JOINS, 2, kernels=("Copy",)),
    "QUANTIZE": OpSpec(_CONVERTS, 1, kernels=("Convert",)),
    "DEQUANTIZE": OpSpec(_CONVERTS, 2, kernels=("Convert",)),
    "CAST": OpSpec(_CONVERTS, 1, kernels=("Convert",)),
}


def names_of(*roles: Role) -> tuple[str, ...]:
    """Names of the operators with one of these roles."""
    return tuple(name for name, spec in OPERATORS.items() if spec.role in roles)


def has_kernel(name: str, precision: Precision) -> bool:
    """Whether a float operator of this name can be written in a precision."""
    if precision is Precision.FLOAT32:
        return True
    spec = OPERATORS.get(name)
    return spec is not None and spec.version_in(precision) is not None


WEIGHTED = tuple(name for name, spec in OPERATORS.items() if spec.weighted)


def count_macs(name: str, inputs: Sequence[Shape], output: Shape, options: Any) -> int | None:
    """Multiply-accumulates of one operator; 0 if it multiplies no matrices.

    A matrix product or convolution has as many as its output has elements, times the length of the
    sum behind each.

    Args:
        name: of the operator.
        inputs: shapes of its inputs.
        output: shape of its output.
        options: its builtin options.

    Returns:
        None for an operator that multiplies and is not counted.
    """
    spec = OPERATORS.get(name)
    if spec is None or spec.role is not Role.MULTIPLIES:
        return 0
    if spec.sum_length is None:
        return None
    return math.prod(output) * spec.sum_length(inputs, options)


# Of what computes element by element: what has an int8 kernel that TensorFlow's quantiser uses. A
# function of these alone needs no table.
QUANTISED = (
    *("ADD", "HARD_SWISH", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "RELU", "RELU6", "RSQRT"),
    *("SQUARED_DIFFERENCE", "SUB", "TANH"),
)
# Likewise with int16 activations.
QUANTISED16 = (
    *("ABS", "ADD", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "RELU", "RELU6", "RSQRT", "SUB"),
    *("LEAKY_RELU", "TANH"),
)
