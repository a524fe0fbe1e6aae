"""Which operator of a .tflite file each of XNNPACK's kernels computes.

XNNPACK's profile names kernels, not operators: some operators become two kernels (a conversion
before a matrix product), some vanish (a reshape, a multiplication folded into another). Within a
part of the graph the order is kept, so kernels and operators are aligned like two texts: the
longest common sequence of those that fit together, matrix products counting most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Kernel's name up to its parenthesis -> operators that it may compute.
COMPUTES: dict[str, tuple[str, ...]] = {
    "Add": ("ADD",),
    "ApproxGELU": ("GELU",),
    "Average Pooling": ("AVERAGE_POOL_2D", "MEAN"),
    "Batch Matrix Multiply": ("BATCH_MATMUL",),
    "Clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "MINIMUM", "MAXIMUM"),
    "Constant Pad": ("PAD", "PADV2"),
    "Convert": ("QUANTIZE", "DEQUANTIZE", "CAST"),
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Copy": ("CONCATENATION", "RESHAPE", "EXPAND_DIMS", "SQUEEZE", "PACK", "SPLIT"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Depth To Space": ("DEPTH_TO_SPACE",),
    "Divide": ("DIV",),
    "Dynamic Fully Connected": ("FULLY_CONNECTED",),
    "Fully Connected": ("FULLY_CONNECTED", "CONV_2D"),  # a 1x1 convolution is a product
    "GELU": ("GELU",),
    "HardSwish": ("HARD_SWISH",),
    "LeakyReLU": ("LEAKY_RELU",),
    "Max Pooling": ("MAX_POOL_2D",),
    "Maximum": ("MAXIMUM", "RELU"),
    "Mean": ("MEAN", "AVERAGE_POOL_2D"),
    "Mean Squared": ("MEAN",),
    "Minimum": ("MINIMUM",),
    "Multiply": ("MUL",),
    "Negate": ("NEG",),
    "PReLU": ("PRELU",),
    "Reciprocal Square Root": ("RSQRT",),
    "Resize Bilinear": ("RESIZE_BILINEAR",),
    "Sigmoid": ("LOGISTIC",),
    "Slice": ("SLICE", "STRIDED_SLICE", "SPLIT"),
    "Space To Depth": ("SPACE_TO_DEPTH",),
    "Square": ("SQUARE", "MUL"),
    "Square Root": ("SQRT",),
    "Squared Difference": ("SQUARED_DIFFERENCE",),
    "Static Expand Dims": ("EXPAND_DIMS",),
    "Static Reshape": ("RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
    "Subtract": ("SUB",),
    "Sum": ("SUM",),
}
HEAVY = ("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
HEAVY_WEIGHT = 8.0


def fits(kernel: str, operator: str) -> bool:
    """Whether a kernel of XNNPACK may compute an operator; an unknown one by its own name."""
    family = kernel.partition(" (")[0]
    if family in COMPUTES:
        return operator in COMPUTES[family]
    return family.replace(" ", "").upper() == operator.replace("_", "")


def assign_kernels(kernels: Sequence[str], operators: Sequence[str]) -> list[int | None]:
    """The place of the operator that each kernel belongs to.

    Args:
        kernels: names, in the order in which they ran, of one delegated part.
        operators: of the same part, in the order of the file.

    Returns:
        For each kernel a place in ``operators``. A kernel that fits none is counted with the
        operator before it if that one may take several, else with the next; None where the part
        has no operator that fits anything.
    """
    weight = np.array(
        [
            [
                (HEAVY_WEIGHT if operator in HEAVY else 1.0) if fits(kernel, operator) else 0.0
                for operator in operators
            ]
            for kernel in kernels
        ]
    ).reshape(len(kernels), len(operators))  # K O
    best = np.zeros((len(kernels) + 1, len(operators) + 1))
    for row in range(len(kernels)):
        taken = np.where(weight[row] > 0, best[row, :-1] + weight[row], 0.0)
        best[row + 1, 1:] = np.maximum.accumulate(np.maximum(taken, best[row, 1:]))
    found: list[int | None] = [None] * len(kernels)
    row, column = len(kernels), len(operators)
    while row and column:
        here = best[row, column]
        if here == best[row, column - 1]:
            column -= 1
        elif here == best[row - 1, column]:
            row -= 1
        else:
            row, column = row - 1, column - 1
            found[row] = column
    return _fill(found, kernels, operators)


def _fill(
    found: list[int | None], kernels: Sequence[str], operators: Sequence[str]
) -> list[int | None]:
    filled = list(found)
    before: int | None = None
    for number, place in enumerate(found):
        if place is not None:
            before = place
            continue
        after = next((later for later in found[number:] if later is not None), None)
        own = before is not None and fits(kernels[number], operators[before])
        filled[number] = before if own or after is None else after
    return filled
