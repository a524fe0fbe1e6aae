"""Passes that onnx-ir and onnxscript do well already."""

from __future__ import annotations

import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import remove_unread
from edgevit.formats.passes import Pass, PassReport

EVERYTHING = 1 << 40  # bytes: kernels are folded too, whatever their size


def _infer_shapes(model: ir.Model) -> PassReport:
    from onnx_ir.passes.common import ShapeInferencePass

    return PassReport("infer_shapes", int(ShapeInferencePass()(model).modified))


def _fold_constants(model: ir.Model) -> PassReport:
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


def _share_equal_nodes(model: ir.Model) -> PassReport:
    from onnx_ir.passes.common import (
        CommonSubexpressionEliminationPass,
        DeduplicateInitializersPass,
    )

    before = len(model.graph)
    DeduplicateInitializersPass()(model)
    CommonSubexpressionEliminationPass()(model)
    remove_unread(model)
    return PassReport("share_equal_nodes", before - len(model.graph))


infer_shapes = Pass("infer_shapes", "shape and type of every value", _infer_shapes)
fold_constants = Pass(
    "fold_constants",
    "what hangs on constants alone is computed; constants become initializers",
    _fold_constants,
)
share_equal_nodes = Pass(
    "share_equal_nodes",
    "one node for several that compute the same, one constant for several that are equal",
    _share_equal_nodes,
)
