"""What each TFLite operator does with 8-bit numbers: one row a kind that the mixed writer knows.

The rules are those of the TFLite 8-bit quantisation specification: activations int8 with a zero
point, weights int8 and symmetric a channel, biases int32; operators that only move or compare
values keep one scale from input to output; a few have an output scale that is laid down.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """How one kind of operator is written in 8 bits.

    Attributes:
        version: of the operator in the schema, once it takes int8.
        weights_axis: output-channel axis of the weights (input 1); None: it has none.
        same_scale: whether inputs and output share scale and zero point.
        output: (scale, zero point) of the output where the kernel wants a certain one.
        dynamic_version: of the operator with int8 weights and float activations; None: there is
            no such kernel.
        int4_version: likewise with 4-bit weights. CONV_2D takes them as well, but only in LiteRT's
            own kernels, which cut XNNPACK's graph in two at every layer.
        version16: with int16 activations and int8 weights; None: there is no such kernel.
        output16: as output, for int16.
    """

    version: int
    weights_axis: int | None = None
    same_scale: bool = False
    output: tuple[float, int] | None = None
    dynamic_version: int | None = None
    int4_version: int | None = None
    version16: int | None = None
    output16: tuple[float, int] | None = None


PROBABILITIES = (1 / 256, -128)
SYMMETRIC = (1 / 32768, 0)

KINDS: dict[str, Kind] = {
    "FULLY_CONNECTED": Kind(4, weights_axis=0, dynamic_version=9, int4_version=12, version16=7),
    "CONV_2D": Kind(3, weights_axis=0, dynamic_version=5, version16=4),
    "DEPTHWISE_CONV_2D": Kind(3, weights_axis=3, version16=5),
    "ADD": Kind(2, version16=3),
    "SUB": Kind(2, version16=3),
    "MUL": Kind(2, version16=4),
    "MEAN": Kind(2, version16=3),
    "SUM": Kind(2),
    "RSQRT": Kind(2, version16=3),
    "BATCH_MATMUL": Kind(2, version16=3),
    "GELU": Kind(2),
    "HARD_SWISH": Kind(1),
    "LOGISTIC": Kind(2, output=PROBABILITIES, version16=3, output16=SYMMETRIC),
    "SOFTMAX": Kind(2, output=PROBABILITIES, version16=3, output16=SYMMETRIC),
    "TANH": Kind(2, output=(1 / 128, 0), version16=3, output16=SYMMETRIC),
    "RESHAPE": Kind(1, same_scale=True, version16=1),
    "SQUEEZE": Kind(1, same_scale=True, version16=1),
    "EXPAND_DIMS": Kind(1, same_scale=True, version16=1),
    "TRANSPOSE": Kind(2, same_scale=True, version16=4),
    "STRIDED_SLICE": Kind(2, same_scale=True, version16=4),
    "SLICE": Kind(2, same_scale=True, version16=4),
    "PAD": Kind(2, same_scale=True, version16=3),
    "CONCATENATION": Kind(2, same_scale=True, version16=3),
    "MAX_POOL_2D": Kind(2, same_scale=True, version16=3),
    "AVERAGE_POOL_2D": Kind(2, same_scale=True, version16=3),
    "RESIZE_BILINEAR": Kind(2, same_scale=True, version16=4),
}
