"""LayerNormalization's scale and offset, folded into the Gemms behind it.

``(n * gamma + beta) @ K + b = n @ (gamma[:, None] * K) + (b + beta @ K)``. What is left normalises
only: all of them share one scale of ones.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    attribute,
    constant,
    dims,
    optional,
    readers,
    set_constant,
    trained,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_affine(node: ir.Node) -> Found:
    """Starts from LayerNormalization."""
    gamma = constant(node.inputs[1])
    beta = constant(optional(node, 2))
    if gamma is None or (len(node.inputs) > 2 and beta is None):
        return Declined("scale or offset are not constant")
    if beta is None and np.all(gamma == 1):
        return None
    value = node.outputs[0]
    if len(dims(value)) != 2 or gamma.ndim != 1:
        return Declined("it does not normalise rows of a matrix")
    uses = readers(value)
    if value.is_graph_output() or any(
        use.op_type != "Gemm" or use.inputs[0] is not value for use in uses
    ):
        return Declined("something else than a Gemm reads it")
    for use in uses:
        arrays = [constant(part) for part in use.inputs[1:]]
        if any(array is None for array in arrays) or attribute(use, "transB", 0):
            return Declined("a kernel behind it is not constant, or transposed")
    return partial(_fold, node, gamma, beta, uses)


def _fold(node: ir.Node, gamma: np.ndarray, beta: np.ndarray | None, uses: list[ir.Node]) -> None:
    """New kernels and biases; ones instead of gamma."""
    for use in uses:
        wide, own = trained(use, 1).astype(np.float64), constant(optional(use, 2))
        set_constant(use, 1, (gamma[:, None] * wide).astype(np.float32), "kernel")
        if beta is not None:
            bias = beta @ wide + (0 if own is None else own)
            set_constant(use, 2, bias.astype(np.float32), "bias")
    set_constant(node, 1, np.ones_like(gamma), "scale")
    if beta is not None:
        node.resize_inputs(2)


fold_norm_affine = rewrite_pass(
    "fold_norm_affine",
    "scale and offset of a LayerNormalization into the Gemms behind it",
    ("LayerNormalization",),
    find_affine,
    opset=17,
)
