"""Reshapes whose target is computed although it is known.

With a free batch, a Dense layer on four axes becomes Shape, Gather, ReduceProd and Concat, only to
compute a target of which every length but one is fixed. Reshape finds that one by itself.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import add_constant, constant, dims
from edgevit.formats.onnx.writer.passes.rewriting import rewrite_pass
from edgevit.formats.passes import Declined


def find_computed_target(node: ir.Node) -> ir.Node | Declined | None:
    """Starts from Reshape."""
    if constant(node.inputs[1]) is not None:
        return None
    shape = dims(node.outputs[0])
    if not shape or shape.count(None) > 1:
        return Declined("more than one length is not fixed")
    if 0 in shape:
        return Declined("a length is zero")
    return node


def apply_constant_target(node: ir.Node) -> None:
    """-1 stands for the length that is not fixed."""
    target = [-1 if length is None else length for length in dims(node.outputs[0])]
    node.replace_input_with(1, add_constant(node, np.array(target, np.int64), "shape"))


fix_reshape_targets = rewrite_pass(
    "fix_reshape_targets",
    "a known target of a Reshape as a constant",
    ("Reshape",),
    find_computed_target,
    apply_constant_target,
)
