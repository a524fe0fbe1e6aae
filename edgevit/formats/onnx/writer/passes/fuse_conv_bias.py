"""A bias that is added behind a convolution, moved into it; also from behind a Transpose."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    attribute,
    constant,
    dims,
    optional,
    other_operand,
    replace,
    set_constant,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_conv_bias(node: ir.Node) -> Found:
    """Starts from Conv."""
    value, axis = node.outputs[0], 1
    step = sole_reader(value)
    if step is not None and step.op_type == "Transpose":
        axis = list(attribute(step, "perm")).index(1)
        value = step.outputs[0]
        step = sole_reader(value)
    if step is None or step.op_type != "Add":
        return None
    array = constant(other_operand(step, value))
    if array is None:
        return None
    rank, kernel = len(dims(value)), constant(node.inputs[1])
    if kernel is None or not rank:
        return Declined("the kernel is not constant")
    full = array.reshape((1,) * (rank - array.ndim) + array.shape) if array.ndim <= rank else array
    if full.size not in (1, kernel.shape[0]) or full.shape[axis] != full.size:
        return Declined("what is added does not vary along the channels alone")
    bias = np.broadcast_to(full.reshape(-1), kernel.shape[:1])
    own = constant(optional(node, 2))
    if optional(node, 2) is not None and own is None:
        return Declined("its own bias is not constant")
    return partial(_move, node, bias if own is None else own + bias, step, value)


def _move(node: ir.Node, bias: np.ndarray, add: ir.Node, before: ir.Value) -> None:
    """The Add goes, the Conv has a bias."""
    set_constant(node, 2, bias.astype(np.float32), "bias")
    replace(add.outputs[0], before)


fuse_conv_bias = rewrite_pass(
    "fuse_conv_bias",
    "a bias behind a convolution into it",
    ("Conv",),
    find_conv_bias,
)
