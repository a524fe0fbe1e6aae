"""Reshapes whose target is computed although it is known.

With a free batch, a Dense layer on four axes becomes Shape, Gather, ReduceProd and Concat, only to
compute a target of which every length but one is fixed. Reshape finds that one by itself.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import constant, dims, set_constant
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_computed_target(node: ir.Node) -> Found:
    """Starts from Reshape."""
    if constant(node.inputs[1]) is not None:
        return None
    shape = dims(node.outputs[0])
    if not shape or shape.count(None) > 1:
        return Declined("more than one length is not fixed")
    if 0 in shape:
        return Declined("a length is zero")
    target = [-1 if length is None else length for length in shape]
    return partial(set_constant, node, 1, np.array(target, np.int64), "shape")


fix_reshape_targets = rewrite_pass(
    "fix_reshape_targets",
    "a known target of a Reshape as a constant",
    ("Reshape",),
    find_computed_target,
)
