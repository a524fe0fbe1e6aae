"""A Dense layer as one Gemm on rows.

Keras' Dense on more than two axes becomes Reshape, MatMul, Reshape, Add, or MatMul and Add. A Gemm
adds the bias while the product is still in registers, but takes matrices only; so the rows are
gathered into one axis before it. What the Reshapes cost is nothing: they move no data.

Source: ONNX Gemm-13.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    constant,
    count_of,
    dims,
    last_axis,
    maker,
    operand,
    other_operand,
    replace,
    reshape,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_dense(node: ir.Node) -> Found:
    """Starts from MatMul."""
    kernel = constant(node.inputs[1])
    if kernel is None:
        return None  # a product of two activations
    if kernel.ndim != 2:
        return Declined(f"the constant has {kernel.ndim} axes")
    shape = dims(node.inputs[0])
    if len(shape) < 2:
        return Declined("the rank of the input is not known")
    result, bias = _read_bias(node.outputs[0], kernel.shape[1])
    if sum(length is None for length in dims(result)) > 1 or not dims(result):
        return Declined("more than one length of the result is not fixed")
    return partial(_fuse, node, kernel, bias, result)


def _fuse(node: ir.Node, kernel: np.ndarray, bias: np.ndarray | None, result: ir.Value) -> None:
    """Reshape, Gemm, Reshape; Reshapes that change nothing are left out."""
    x, last = operand(node, 0), maker(result)
    rows = count_of(dims(x)[:-1])
    inputs = [reshape(last, x, (rows, kernel.shape[0])), node.inputs[1]]
    if bias is not None:
        inputs.append(add_constant(last, bias.astype(kernel.dtype), "bias"))
    output = add_node(last, "Gemm", inputs, (rows, kernel.shape[1]))
    replace(result, reshape(last, output, dims(result)))


def _read_bias(value: ir.Value, width: int) -> tuple[ir.Value, np.ndarray | None]:
    """(result, bias) behind a product, also behind a Reshape that keeps the last axis."""
    step = sole_reader(value)
    after = value
    if step is not None and step.op_type == "Reshape" and dims(step.outputs[0])[-1:] == (width,):
        after = step.outputs[0]
        step = sole_reader(after)
    if step is not None and step.op_type == "Add":
        bias = last_axis(other_operand(step, after), width)
        if bias is not None and len(dims(step.outputs[0])) == len(dims(after)):
            return step.outputs[0], bias
    return value, None


fuse_dense = rewrite_pass(
    "fuse_dense",
    "a product with a constant matrix and its bias as one Gemm on rows",
    ("MatMul",),
    find_dense,
)
