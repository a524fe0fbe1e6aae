"""Rows stay rows: what stands between two Gemms works on matrices as they do.

A Gemm takes B*N rows, the layers around it write B H W C. Everything that treats each row by
itself (an activation, LayerNormalization over the last axis, a residual sum of two such) is
computed on rows, so that the Reshapes between meet and vanish. They cost little time each, but they
keep runtimes from seeing a Gemm and what follows as neighbours.
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
    count_of,
    dims,
    last_axis,
    made_by,
    operand,
    readers,
    replace,
    reshape,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

UNARY = ("Gelu", "Relu", "Sigmoid", "Tanh", "LayerNormalization")
BINARY = ("Add", "Sub", "Mul")


def find_rows(node: ir.Node) -> Found:
    """Starts from any node that treats rows by themselves."""
    shape = dims(node.outputs[0])
    if len(shape) < 3 or shape[-1] is None:
        return None
    if sum(length is None for length in shape) > 1:
        return Declined("more than one length is not fixed")
    width = shape[-1]
    if node.op_type == "LayerNormalization" and attribute(node, "axis", -1) not in (
        -1,
        len(shape) - 1,
    ):
        return Declined("normalises more than rows")
    count = 1 if node.op_type in UNARY else 2
    operands: list[ir.Value | np.ndarray | None] = []
    for value in node.inputs[:count]:
        if constant(value) is not None:
            array = last_axis(value, width)
            if array is None:
                array = _as_rows(constant(value), shape)
            if array is None:
                return Declined("a constant that varies over more than rows")
            operands.append(array)
        elif dims(value) != shape:
            return Declined("an operand is repeated along the rows")
        else:
            operands.append(_rows_of(value, width))
    gathered = any(isinstance(part, ir.Value) for part in operands)
    scattered = any(_becomes_rows(use, width) for use in readers(node.outputs[0]))
    if not gathered and not (scattered and count == 1):
        return None
    return partial(_gather, node, operands)


def _gather(node: ir.Node, operands: list[ir.Value | np.ndarray | None]) -> None:
    """Reshapes what is not rows yet; one Reshape back behind it.

    Args:
        node: on more than two axes.
        operands: what its operands are as rows; None: to be gathered.
    """
    shape = dims(node.outputs[0])
    width = shape[-1]
    rows = count_of(shape[:-1])
    inputs: list[ir.Value | None] = []
    for place, part in enumerate(operands):
        if isinstance(part, np.ndarray):
            inputs.append(add_constant(node, part.astype(np.float32), "operand"))
        else:
            inputs.append(part or reshape(node, operand(node, place), (rows, width)))
    inputs.extend(node.inputs[len(operands) :])  # scale and offset of LayerNormalization
    attributes = attributes_of(node)
    if "axis" in attributes:
        attributes["axis"] = -1
    output = add_node(node, node.op_type, inputs, (rows, width), attributes)
    replace(node.outputs[0], reshape(node, output, shape))


def find_chain(node: ir.Node) -> Found:
    """Starts from a Reshape of a Reshape, or one that changes nothing."""
    x = operand(node, 0)
    shape = dims(node.outputs[0])
    if dims(x) == shape and sum(length is None for length in shape) < 2:
        return partial(replace, node.outputs[0], x)
    before = made_by(x, "Reshape")
    target = constant(node.inputs[1])
    if before is None or target is None:
        return None
    if (target == 0).any():
        return Declined("copies a length of its input")
    first = operand(before, 0)
    if dims(first) == shape:
        return partial(replace, node.outputs[0], first)
    return partial(node.replace_input_with, 0, first)


def _rows_of(value: ir.Value | None, width: int) -> ir.Value | None:
    """The rows that a Reshape has made a value of."""
    before = made_by(value, "Reshape")
    rows = before.inputs[0] if before is not None else None
    return rows if rows is not None and len(dims(rows)) == 2 and dims(rows)[1] == width else None


def _becomes_rows(node: ir.Node, width: int) -> bool:
    shape = dims(node.outputs[0])
    return node.op_type == "Reshape" and len(shape) == 2 and shape[1] == width


def _as_rows(array: np.ndarray | None, shape: tuple[int | None, ...]) -> np.ndarray | None:
    """A constant of the whole shape (position embeddings), as rows; needs a fixed batch."""
    if array is None or None in shape:
        return None
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if full.shape[-1] != shape[-1]:
        return None
    lengths = [length or 0 for length in shape]
    return np.broadcast_to(full, lengths).reshape(-1, lengths[-1])


gather_rows = rewrite_pass(
    "gather_rows",
    "what treats rows by themselves on rows, as the Gemms beside it",
    (*UNARY, *BINARY),
    find_rows,
)
merge_reshapes = rewrite_pass(
    "merge_reshapes", "one Reshape for several in a row", ("Reshape",), find_chain
)
