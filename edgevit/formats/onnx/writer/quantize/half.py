"""float16 for ONNX: weights and arithmetic in half precision, inputs and outputs in float32.

Kept in float32: layer normalisation that is written out as single operators, whose squares overflow
beyond 256; means, since how they are summed is up to the runtime;
preprocessing, which resizes raw pixels; and operators with constants beyond float16's range. GPUs
and NPUs compute the rest natively; onnxruntime on x86 has few float16 kernels, so there it casts to
float32 and back.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.graph import (
    constant,
    forget_shapes,
    initializer,
    named_node,
    path_of,
    remove_unread,
    split_off,
)
from edgevit.formats.onnx.writer.passes.library import infer_shapes
from edgevit.formats.onnx.writer.quantize.layers import find_layers

SINGLE, HALF_TYPE = ir.DataType.FLOAT, ir.DataType.FLOAT16
LARGEST = float(np.finfo(np.float16).max)

# Operators that are computed in float16. LayerNormalization takes its statistics in float32 all the
# same: that is what its stash_type means (ONNX operator reference).
HALF = {
    *("Gemm", "MatMul", "Conv", "Attention", "LayerNormalization", "Softmax", "MaxPool"),
    *("Add", "Sub", "Mul", "Div", "Neg", "Erf"),
    *("Gelu", "Relu", "LeakyRelu", "Elu", "Selu", "Clip"),
    *("Sigmoid", "Tanh", "HardSigmoid", "HardSwish"),
}
# Operators that move values and take whatever type these have.
MOVING = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Identity"),
    *("Concat", "Split", "Slice", "Gather", "Pad", "DepthToSpace", "SpaceToDepth"),
}
# A layer with one of these is a normalisation written out as single operators.
NORMALISING = {"Sqrt", "Reciprocal"}


def to_half(model: ir.Model) -> tuple[str, ...]:
    """Rewrites a float32 graph in place; lines for the manifest.

    Raises:
        ExportError: no layer with weights.
    """
    layers, _ = find_layers(model)
    if not layers:
        raise ExportError("there is no Gemm, MatMul or Conv with constant weights to round.")
    if any(value.dtype is None for node in model.graph for value in node.outputs):
        infer_shapes.run(model)
    chosen = choose_half(model)
    _Writer(model.graph, chosen).rewrite()
    remove_unread(model)
    forget_shapes(model)
    kept = Counter(
        node.op_type
        for node in model.graph
        if node.op_type not in MOVING | {"Cast"} and node not in chosen
    )
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kept.items()))
    left = (f"kept in float32: {listed}",) if listed else ()
    return (f"float16 weights and arithmetic in {len(chosen)} operators", *left)


def choose_half(model: ir.Model) -> set[ir.Node]:
    """The nodes that compute in float16; those of MOVING follow what they are given."""
    weighted = {layer.node for layer in find_layers(model)[0]}
    norms = {path_of(node) for node in model.graph if node.op_type in NORMALISING} - {""}
    reached: set[ir.Value | None] = set()  # behind a weighted layer; before it is preprocessing
    chosen = set()
    for node in model.graph:
        behind = node in weighted or any(value in reached for value in node.inputs)
        if not behind:
            continue
        reached.update(node.outputs)
        if node.op_type in HALF and path_of(node) not in norms and all(map(_fits, node.inputs)):
            chosen.add(node)
    return chosen


def _fits(value: ir.Value | None) -> bool:
    """Whether a value is computed, holds no floats, or only such as float16 has."""
    array = constant(value)
    return array is None or array.dtype != np.float32 or np.abs(array).max(initial=0) <= LARGEST


class _Writer:
    """Puts casts where the two types meet."""

    def __init__(self, graph: ir.Graph, chosen: set[ir.Node]):
        self.graph = graph
        self.chosen = chosen
        # Type of every float tensor that is computed; an absent one holds no floats.
        self.types: dict[ir.Value, ir.DataType] = {
            value: SINGLE for value in graph.inputs if value.dtype == SINGLE
        }
        self.casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def rewrite(self) -> None:
        for node in list(self.graph):
            wanted = self._type_of(node)
            for place, value in enumerate(node.inputs):
                if value is not None and (_is_float_constant(value) or value in self.types):
                    node.replace_input_with(place, self._as(node, value, wanted))
            kind = SINGLE if node.op_type == "Cast" else wanted
            for place, value in enumerate(node.outputs):
                if value.dtype == SINGLE and value.is_graph_output() and kind == HALF_TYPE:
                    outer = split_off(value, f"{node.name}/half:{place}")
                    cast = named_node(
                        "Cast", [value], f"{outer.name}/Cast", {"to": SINGLE}, [outer]
                    )
                    self.graph.insert_after(node, cast)
                    self.casts[outer, HALF_TYPE] = value
                    self.types[outer] = SINGLE
                elif value.dtype == SINGLE:
                    self.types[value] = kind

    def _type_of(self, node: ir.Node) -> ir.DataType:
        if node in self.chosen:
            return HALF_TYPE
        if node.op_type in MOVING:
            given = {self.types[value] for value in node.inputs if value in self.types}
            return HALF_TYPE if given == {HALF_TYPE} else SINGLE
        return SINGLE

    def _as(self, node: ir.Node, value: ir.Value, kind: ir.DataType) -> ir.Value:
        """A float tensor in one of the two types, cast in front of a node if need be."""
        if self.types.get(value, SINGLE) == kind:
            return value
        if (value, kind) not in self.casts:
            name = f"{value.name}/{'half' if kind == HALF_TYPE else 'single'}"
            array = constant(value)
            if array is not None:
                result = initializer(self.graph, array.astype(np.float16), name)
            else:
                result = ir.Value(name=name)
                cast = named_node("Cast", [value], f"{name}/Cast", {"to": kind}, [result])
                self.graph.insert_before(node, cast)
            self.casts[value, kind] = result
        return self.casts[value, kind]


def _is_float_constant(value: ir.Value) -> bool:
    array = constant(value)
    return array is not None and array.dtype == np.float32
