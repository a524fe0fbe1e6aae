"""Scales and offsets by constants, folded into the weights beside them.

- into a convolution from before it: pixels are scaled (and, without padding, shifted) by the
  preprocessing. Padding is zero after the scale, so a padded convolution takes the factor alone:
  ``x * s + o = (x + o / s) * s``;
- into a Gemm from behind it: the scale of attention's query, LayerScale.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    last_axis,
    made_by,
    operand,
    optional,
    set_constant,
    sole_reader,
    trained,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

TO_CHANNELS_FIRST = (0, 3, 1, 2)


def find_scaled_input(node: ir.Node) -> Found:
    """Starts from Conv."""
    transpose = made_by(node.inputs[0], "Transpose")
    if transpose is None or tuple(attribute(transpose, "perm")) != TO_CHANNELS_FIRST:
        return None
    value = operand(transpose, 0)
    shape = dims(value)
    if len(shape) != 4:
        return Declined("its shape is not known")
    channels = shape[3]
    add, offset = _read_step(value, "Add", channels)
    mul, scale = _read_step(add if add is not None else value, "Mul", channels)
    if scale is None and (offset is None or _is_padded(node)):
        return None
    if attribute(node, "group", 1) != 1:
        return Declined("a grouped convolution")
    if constant(node.inputs[1]) is None:
        return Declined("the kernel is not constant")
    if optional(node, 2) is not None and constant(optional(node, 2)) is None:
        return Declined("the bias is not constant")
    if not all(sole_reader(part) for part in (value, add, transpose.outputs[0]) if part):
        return Declined("something else reads the scaled values")
    if scale is not None and np.any(scale == 0):
        return Declined("a channel is scaled by zero")
    x = mul if mul is not None else add
    assert x is not None
    return partial(_fold_input, node, transpose, x, np.ones(1) if scale is None else scale, offset)


def _fold_input(
    node: ir.Node,
    transpose: ir.Node,
    x: ir.Value,
    scale: np.ndarray,
    offset: np.ndarray | None,
) -> None:
    """Scales the kernel, moves the offset into the bias or leaves it before the padding."""
    kernel = trained(node, 1)
    scale = np.broadcast_to(scale, kernel.shape[1:2]).astype(np.float64)
    if offset is not None:
        offset = np.broadcast_to(offset, kernel.shape[1:2]).astype(np.float64)
        if _is_padded(node):
            shift = add_constant(transpose, _narrow((offset / scale).astype(np.float32)), "offset")
            x = add_node(transpose, "Add", [x, shift], dims(x))
        else:
            bias = np.einsum("ocij,c->o", kernel.astype(np.float64), offset)
            own = constant(optional(node, 2))
            bias = bias if own is None else bias + own
            set_constant(node, 2, bias.astype(np.float32), "bias")
    set_constant(node, 1, (kernel * scale[:, None, None]).astype(np.float32), "kernel")
    transpose.replace_input_with(0, x)


def _read_step(
    value: ir.Value, op_type: str, channels: int | None
) -> tuple[ir.Value | None, np.ndarray | None]:
    """(what a constant is added to or multiplied with, that constant along the last axis)."""
    node = made_by(value, op_type)
    if node is not None:
        for place in (0, 1):
            array = last_axis(node.inputs[place], channels)
            if array is not None:
                return node.inputs[1 - place], array
    return None, None


def _narrow(values: np.ndarray) -> np.ndarray:
    """One number where all are equal, which onnxruntime adds fifteen times as fast to pixels."""
    return values.reshape(-1)[0] if np.ptp(values) == 0 else values


def _is_padded(node: ir.Node) -> bool:
    automatic = attribute(node, "auto_pad", "NOTSET")
    return any(attribute(node, "pads", ())) or automatic not in ("NOTSET", "VALID")


fold_input_scale = rewrite_pass(
    "fold_input_scale",
    "scale and offset of the preprocessing into the convolution behind them",
    ("Conv",),
    find_scaled_input,
)
