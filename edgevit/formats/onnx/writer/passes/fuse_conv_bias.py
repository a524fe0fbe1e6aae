"""A bias that is added behind a convolution, moved into it; also from behind a Transpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    attribute,
    constant,
    dims,
    other_operand,
    replace,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.rewriting import rewrite_pass
from edgevit.formats.passes import Declined


@dataclass(frozen=True)
class Found:
    """A convolution and the Add of its bias."""

    node: ir.Node
    bias: np.ndarray
    add: ir.Node
    before: ir.Value


def find_conv_bias(node: ir.Node) -> Found | Declined | None:
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
    own = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if len(node.inputs) > 2 and node.inputs[2] is not None and own is None:
        return Declined("its own bias is not constant")
    return Found(node, bias if own is None else own + bias, step, value)


def apply_conv_bias(found: Found) -> None:
    """The Add goes, the Conv has a bias."""
    node = found.node
    bias = add_constant(node, found.bias.astype(np.float32), "bias")
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, bias)
    replace(found.add.outputs[0], found.before)


fuse_conv_bias = rewrite_pass(
    "fuse_conv_bias",
    "a bias behind a convolution into it",
    ("Conv",),
    find_conv_bias,
    apply_conv_bias,
)
