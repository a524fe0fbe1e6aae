"""LayerNormalization's scale and offset, folded into the Gemms behind it.

``(n * gamma + beta) @ K + b = n @ (gamma[:, None] * K) + (b + beta @ K)``. What is left normalises
only: all of them share one scale of ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    attribute,
    constant,
    dims,
    readers,
)
from edgevit.formats.onnx.writer.passes.rewriting import rewrite_pass
from edgevit.formats.passes import Declined


@dataclass(frozen=True)
class Found:
    """A normalisation and the Gemms that alone read it."""

    node: ir.Node
    dense: tuple[ir.Node, ...]


def find_affine(node: ir.Node) -> Found | Declined | None:
    """Starts from LayerNormalization."""
    gamma = constant(node.inputs[1])
    beta = constant(node.inputs[2]) if len(node.inputs) > 2 else None
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
    return Found(node, tuple(uses))


def apply_affine(found: Found) -> None:
    """New kernels and biases; ones instead of gamma."""
    node = found.node
    gamma = constant(node.inputs[1])
    beta = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    assert gamma is not None
    for use in found.dense:
        kernel = constant(use.inputs[1])
        own = constant(use.inputs[2]) if len(use.inputs) > 2 else None
        assert kernel is not None
        wide = kernel.astype(np.float64)
        use.replace_input_with(
            1, add_constant(use, (gamma[:, None] * wide).astype(np.float32), "kernel")
        )
        if beta is not None:
            bias = beta @ wide + (0 if own is None else own)
            if len(use.inputs) < 3:
                use.resize_inputs(3)
            use.replace_input_with(2, add_constant(use, bias.astype(np.float32), "bias"))
    node.replace_input_with(1, add_constant(node, np.ones_like(gamma), "scale"))
    if beta is not None:
        node.resize_inputs(2)


fold_norm_affine = rewrite_pass(
    "fold_norm_affine",
    "scale and offset of a LayerNormalization into the Gemms behind it",
    ("LayerNormalization",),
    find_affine,
    apply_affine,
    opset=17,
)
