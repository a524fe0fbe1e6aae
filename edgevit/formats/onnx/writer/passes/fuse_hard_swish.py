"""Hard sigmoid and hard swish as one node each.

Keras writes ``relu6(x + 3) / 6`` (Howard et al. 2019, arXiv:1905.02244). ONNX has
``HardSigmoid(x) = max(0, min(1, alpha * x + beta))``, and from opset 14 on HardSwish, which is x
times the same with alpha 1/6 and beta 1/2. Runs before biases are folded, which would take the 3.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_node,
    attribute,
    dims,
    made_by,
    operand,
    optional,
    other_operand,
    replace,
    scalar,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_hard_sigmoid(node: ir.Node) -> Found:
    """Starts from the Mul or Div that brings the upper end to one."""
    clip = made_by(node.inputs[0], "Clip") or made_by(node.inputs[1], "Clip")
    if clip is None:
        return None
    factor = scalar(other_operand(node, clip.outputs[0]))
    if factor is None or not factor or (node.op_type == "Div" and node.inputs[1] in clip.outputs):
        return None
    factor = 1 / factor if node.op_type == "Div" else factor
    low, high = scalar(optional(clip, 1)), scalar(optional(clip, 2))
    add = made_by(clip.inputs[0], "Add")
    if low != 0 or high is None or add is None:
        return None
    place = 1 if scalar(add.inputs[1]) is not None else 0
    offset = scalar(add.inputs[place])
    if offset is None:
        return None
    if not np.isclose(high * factor, 1, rtol=1e-6):
        return Declined("its upper end is not one")
    return partial(_fuse, node, operand(add, 1 - place), factor, offset * factor)


def _fuse(node: ir.Node, x: ir.Value, alpha: float, beta: float) -> None:
    attributes = {"alpha": float(np.float32(alpha)), "beta": float(np.float32(beta))}
    replace(node.outputs[0], add_node(node, "HardSigmoid", [x], dims(x), attributes))


def find_hard_swish(node: ir.Node) -> Found:
    """Starts from the product of x and its hard sigmoid."""
    for place in (0, 1):
        gate, x = made_by(node.inputs[place], "HardSigmoid"), node.inputs[1 - place]
        if gate is None or x is None or gate.inputs[0] is not x:
            continue
        found = attribute(gate, "alpha", 0.2), attribute(gate, "beta", 0.5)
        if not np.allclose(found, (1 / 6, 0.5), rtol=1e-6):
            return Declined("its slope is not 1/6, or its middle not 1/2")
        return partial(_fuse_swish, node, x)
    return None


def _fuse_swish(node: ir.Node, x: ir.Value) -> None:
    replace(node.outputs[0], add_node(node, "HardSwish", [x], dims(x)))


fuse_hard_sigmoid = rewrite_pass(
    "fuse_hard_sigmoid", "relu6(x + 3) / 6 as one node", ("Mul", "Div"), find_hard_sigmoid
)
fuse_hard_swish = rewrite_pass(
    "fuse_hard_swish", "x times its hard sigmoid as one node", ("Mul",), find_hard_swish, opset=14
)
