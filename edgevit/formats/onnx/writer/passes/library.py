"""Passes that onnx-ir and onnxscript do well already, in the form of this room's own."""

from __future__ import annotations

import onnx_ir as ir

from edgevit.formats.onnx.writer.passes.editing import remove_unread
from edgevit.formats.onnx.writer.passes.rewriting import PassReport

EVERYTHING = 1 << 40  # bytes: kernels are folded too, whatever their size


def infer_shapes(model: ir.Model) -> PassReport:
    """Shape and type of every value."""
    from onnx_ir.passes.common import ShapeInferencePass

    return PassReport("infer_shapes", int(ShapeInferencePass()(model).modified))


def fold_constants(model: ir.Model) -> PassReport:
    """Computes what hangs on constants alone; constants become initializers."""
    from onnx_ir.passes.common import IdentityEliminationPass, LiftConstantsToInitializersPass
    from onnxscript.optimizer import fold_constants as fold

    before = len(model.graph)
    fold(
        model,
        onnx_shape_inference=True,
        input_size_limit=EVERYTHING,
        output_size_limit=EVERYTHING,
    )
    LiftConstantsToInitializersPass(lift_all_constants=True)(model)
    IdentityEliminationPass()(model)
    remove_unread(model)
    return PassReport("fold_constants", before - len(model.graph))


def share_equal_nodes(model: ir.Model) -> PassReport:
    """One node for several that compute the same, one constant for several that are equal."""
    from onnx_ir.passes.common import (
        CommonSubexpressionEliminationPass,
        DeduplicateInitializersPass,
    )

    before = len(model.graph)
    DeduplicateInitializersPass()(model)
    CommonSubexpressionEliminationPass()(model)
    remove_unread(model)
    return PassReport("share_equal_nodes", before - len(model.graph))
