"""Few rows times a large kernel, as a 1x1 convolution: for the sake of memory.

A kernel of megabytes comes from memory in every run, and with a handful of rows that is most of the
time. onnxruntime packs a Gemm's kernel into one strip of 16 columns after the other; its
convolution reads several strips side by side, which a processor fetches ahead better. Measured in
1.31 on one AVX2 thread, times of the Gemm: one row 0.70 for 9216 x 2048, 0.78 for 2048 x 1024, 0.86
for 1024 x 1024, 0.95 for 512 x 1000; nine rows 0.84 to 0.86 from 1024 x 1024 on, 0.95 for 512 x
512; sixteen rows 0.94, of which two Transposes take their share.

One row needs no Transpose: a row and a column of channels are the same numbers. Between two such
convolutions activations and products of two of them stay channels first. The file's size is equal.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    attributes_of,
    constant,
    dims,
    made_by,
    operand,
    optional,
    replace,
    reshape,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.attention import is_plain
from edgevit.formats.onnx.writer.passes.gather_rows import BINARY
from edgevit.formats.onnx.writer.passes.lower_convolution import TO_CHANNELS_FIRST, TO_CHANNELS_LAST
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

FEWEST_WEIGHTS = 1024 * 1024  # smaller kernels stay in the caches, where a Gemm is as quick
MOST_ROWS = 12
ACTIVATIONS = ("Gelu", "Relu", "Sigmoid", "Tanh")


def find_few_rows(node: ir.Node) -> Found:
    """Starts from Gemm."""
    kernel = constant(node.inputs[1])
    if kernel is None or kernel.size < FEWEST_WEIGHTS:
        return None
    if not is_plain(node):
        return Declined("the Gemm scales or transposes")
    bias = constant(optional(node, 2))
    if optional(node, 2) is not None and (bias is None or bias.size != kernel.shape[1]):
        return Declined("the Gemm adds more than one number a column")
    (rows, _) = dims(node.inputs[0])
    if rows is None:
        return Declined("the number of rows is not fixed")
    return partial(_convolve, node, rows, kernel, bias) if rows <= MOST_ROWS else None


def _convolve(node: ir.Node, rows: int, kernel: np.ndarray, bias: np.ndarray | None) -> None:
    """Channels first, Conv, channels last."""
    channels, width = kernel.shape
    inputs = [
        _channels_first(node, operand(node, 0), rows, channels),
        add_constant(node, kernel.T.reshape(width, channels, 1, 1), "kernel"),
    ]
    if bias is not None:
        inputs.append(add_constant(node, bias.reshape(-1), "bias"))
    value = add_node(node, "Conv", inputs, (1, width, 1, rows), {"kernel_shape": [1, 1]})
    if rows > 1:
        value = add_node(
            node, "Transpose", [value], (1, 1, rows, width), {"perm": TO_CHANNELS_LAST}
        )
    replace(node.outputs[0], reshape(node, value, (rows, width)))


def _channels_first(node: ir.Node, x: ir.Value, rows: int, channels: int) -> ir.Value:
    """M C -> 1 C 1 M."""
    if rows == 1:
        return reshape(node, x, (1, channels, 1, 1))
    before = _before_transposing(node, x, (1, channels, 1, rows))
    if before is not None:
        return before
    image = reshape(node, x, (1, 1, rows, channels))
    return add_node(node, "Transpose", [image], (1, channels, 1, rows), {"perm": TO_CHANNELS_FIRST})


def _before_transposing(node: ir.Node, x: ir.Value, shape: tuple[int, ...]) -> ir.Value | None:
    """Rows that a convolution made, perhaps through elementwise nodes, as they were: 1 C 1 M."""
    step = made_by(x, "Reshape")
    moved = made_by(step.inputs[0], "Transpose") if step is not None else None
    if moved is not None and dims(moved.inputs[0]) == shape:
        return moved.inputs[0] if tuple(attribute(moved, "perm")) == TO_CHANNELS_LAST else None
    inner = made_by(x, *ACTIVATIONS, *BINARY)
    if inner is None or sole_reader(x) is None:
        return None
    operands = []
    for value in inner.inputs:
        found = _before_transposing(node, value, shape) if value is not None else None
        if found is None:
            return None
        operands.append(found)
    return add_node(node, inner.op_type, operands, shape, attributes_of(inner))


convolve_few_rows = rewrite_pass(
    "convolve_few_rows",
    "few rows times a large kernel as a 1x1 convolution",
    ("Gemm",),
    find_few_rows,
)
