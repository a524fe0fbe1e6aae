"""Factors and offsets a channel behind a layer with weights, folded into its kernel and bias.

BatchNormalization in inference, LayerScale, the scale of attention's query, a bias. Convolutions of
any kind and number of axes, transposed and grouped ones too, and Gemm; also from behind a Transpose
or a Reshape that keeps the channels together.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    attribute,
    constant,
    dims,
    operand,
    optional,
    other_operand,
    replace,
    set_constant,
    sole_reader,
    trained,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

MOVERS = ("Transpose", "Reshape", "Squeeze")
STEPS = ("Mul", "Div", "Add", "Sub")


def find_affine(node: ir.Node) -> Found:
    """Starts from Conv, ConvTranspose or Gemm; one step a time."""
    kernel = constant(node.inputs[1])
    value, axis = node.outputs[0], -1 if node.op_type == "Gemm" else 1
    axis %= max(len(dims(value)), 1)
    step = sole_reader(value)
    while step is not None and step.op_type in MOVERS:
        moved = _follow(step, axis)
        if moved is None:
            return None
        axis, value = moved, step.outputs[0]
        step = sole_reader(value)
    if step is None or step.op_type not in STEPS or step.inputs[0] is step.inputs[1]:
        return None
    array = constant(other_operand(step, value))
    if array is None or (step.op_type == "Div" and step.inputs[0] is not value):
        return None
    if kernel is None:
        return Declined("the kernel is not constant")
    if optional(node, 2) is not None and constant(optional(node, 2)) is None:
        return Declined("its own bias is not constant")
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return Declined("the kernel is transposed")
    channels, rank = dims(value)[axis] if dims(value) else None, len(dims(value))
    full = array.reshape((1,) * (rank - array.ndim) + array.shape) if array.ndim <= rank else array
    if channels is None or full.ndim != rank or len(dims(step.outputs[0])) != rank:
        return Declined("the channels are not known, or an axis is added")
    if full.size not in (1, channels) or full.shape[axis] != full.size:
        return Declined("the constant does not vary along the channels alone")
    return partial(_fold, node, step, value, full.reshape(-1).astype(np.float64), channels)


def _follow(step: ir.Node, axis: int) -> int | None:
    """Where the channels are behind a node that moves values; None if they are torn apart."""
    before, after = dims(operand(step, 0)), dims(step.outputs[0])
    if step.op_type == "Transpose":
        return list(attribute(step, "perm")).index(axis)
    if not before or not after or axis != len(before) - 1 or before[axis] != after[-1]:
        return None
    return len(after) - 1 if before[axis] is not None else None


def _fold(node: ir.Node, step: ir.Node, value: ir.Value, array: np.ndarray, channels: int) -> None:
    """Kernel and bias in float64, then as they were stored."""
    kernel = trained(node, 1)
    own = constant(optional(node, 2))
    bias = None if own is None else own.reshape(-1).astype(np.float64)
    factor, offset = _read(step, value, array)
    if factor is not None:
        axis, groups = _channel_axis(node), int(attribute(node, "group", 1))
        scaled = _scale(kernel, np.broadcast_to(factor, channels), axis, groups)
        set_constant(node, 1, scaled.astype(kernel.dtype), "kernel")
        bias = None if bias is None else bias * factor
    if offset is not None:
        bias = offset if bias is None else bias + offset
    if bias is not None:
        bias = np.broadcast_to(bias, channels)
        set_constant(node, 2, bias.astype(kernel.dtype), "bias")
    replace(step.outputs[0], value)


def _read(
    step: ir.Node, value: ir.Value, array: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(factor, offset) of one step."""
    if step.op_type == "Mul":
        return array, None
    if step.op_type == "Div":
        return 1 / array, None
    if step.op_type == "Add":
        return None, array
    if step.inputs[0] is value:
        return None, -array
    return np.full(1, -1.0), array


def _channel_axis(node: ir.Node) -> int:
    return 0 if node.op_type == "Conv" else 1


def _scale(kernel: np.ndarray, factor: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """A kernel whose output channels, of a transposed one within each group, have factors."""
    kernel = kernel.astype(np.float64)
    if axis == 0:
        return kernel * factor.reshape(-1, *(1,) * (kernel.ndim - 1))
    rows, width, *window = kernel.shape
    parts = kernel.reshape(groups, rows // groups, width, *window)
    return (parts * factor.reshape(groups, 1, width, *(1,) * len(window))).reshape(kernel.shape)


fold_affine = rewrite_pass(
    "fold_affine",
    "factors and offsets behind a convolution or a Gemm into its weights",
    ("Conv", "ConvTranspose", "Gemm"),
    find_affine,
)
