"""Heads of attention as a graph spells them: a Dense layer on tokens, cut into heads.

What the rewrites of attention share. The kernels' columns are K heads of D numbers each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    attribute,
    constant,
    dims,
    made_by,
    operand,
    optional,
    sole_reader,
    trained,
)
from edgevit.formats.passes import Declined

PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


@dataclass(frozen=True)
class Heads:
    """Queries, keys or values: what a Dense layer makes of the tokens.

    Attributes:
        dense: the Gemm, on rows B*N C.
        tokens: N.
        heads: K.
        depth: D, width of a head.
    """

    dense: ir.Node
    tokens: int
    heads: int
    depth: int

    @property
    def rows(self) -> ir.Value:
        """B*N C, what the Dense layer reads."""
        return operand(self.dense, 0)

    @property
    def channels(self) -> int:
        """C, width of a token."""
        return trained(self.dense, 1).shape[0]

    @property
    def kernel(self) -> np.ndarray:
        """C K D."""
        return trained(self.dense, 1).reshape(self.channels, self.heads, self.depth)

    @property
    def bias(self) -> np.ndarray | None:
        """K D; None without one."""
        if optional(self.dense, 2) is None:
            return None
        return trained(self.dense, 2).reshape(self.heads, self.depth)


def find_heads(value: ir.Value | None, order: tuple[int, ...] | None) -> Heads | Declined | None:
    """What is behind queries, keys or values: a Transpose, a Reshape and a Gemm.

    Args:
        value: B K N D or B K D N, an operand of a product.
        order: the Transpose's; None: there is none, which one head allows.

    Returns:
        None if it does not look like heads of tokens.
    """
    moved = made_by(value, "Transpose") if order is not None else None
    if order is not None and (moved is None or tuple(attribute(moved, "perm", ())) != order):
        return None
    step = made_by(moved.inputs[0] if moved is not None else value, "Reshape")
    dense = made_by(step.inputs[0], "Gemm") if step is not None else None
    if step is None or dense is None:
        return None
    shape = dims(step.outputs[0])
    if len(shape) != 4 or None in shape[1:]:
        return Declined("the number of tokens is not fixed")
    tokens, heads, depth = (int(length or 0) for length in shape[1:])
    if dims(value) == shape:  # one head: B 1 N D without a Transpose
        tokens, heads = heads, tokens
    if any(constant(operand) is None for operand in dense.inputs[1:]):
        return Declined("the weights are not constant")
    if not is_plain(dense):
        return Declined("the Gemm scales or transposes")
    if trained(dense, 1).shape[1] != heads * depth or tokens == 1:
        return None
    if len(dense.inputs) > 2 and trained(dense, 2).size != heads * depth:
        return Declined("the bias is not one number a column")
    for inner in (dense, step, moved):
        if inner is not None and sole_reader(inner.outputs[0]) is None:
            return Declined("keys or values are read by something else")
    return Heads(dense, tokens, heads, depth)


def is_plain(gemm: ir.Node) -> bool:
    """Whether it is x W + b, without factors and transposed operands."""
    return all(attribute(gemm, name, value) == value for name, value in PLAIN.items())


def normalises(node: ir.Node) -> bool:
    """Whether it is a softmax over the last axis."""
    rank = len(dims(node.inputs[0]))
    return node.op_type == "Softmax" and attribute(node, "axis", -1) in (-1, rank - 1)
