"""float16 for ONNX: weights and arithmetic in half precision, inputs and outputs in float32.

Kept in float32: layer normalisation that is written out as single operators, which in float16
multiplies the mean error of the shipped ShiftViT's logits by eight, and whose squares overflow
beyond 256 (benchmarks/onnx_half_spots.py measures this with an evaluator that really computes in
float16; softmax makes no difference there); means, since how they are summed is up to the runtime;
preprocessing, which resizes raw pixels; and operators with constants beyond float16's range. GPUs
and NPUs compute the rest natively; onnxruntime on x86 has few float16 kernels, so there it casts to
float32 and back.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.formats.onnx.writer.quantize.layers import add_constant, drop_unused, find_layers

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


def to_half(model: Any) -> tuple[str, ...]:
    """Rewrites a float32 graph in place; lines for the manifest.

    Args:
        model: float32 ModelProto whose constants are initialisers.

    Raises:
        ExportError: no layer with weights.
    """
    layers, _ = find_layers(model)
    if not layers:
        raise ExportError("there is no Gemm, MatMul or Conv with constant weights to round.")
    chosen = choose_half(model)
    writer = _Writer(model, chosen)
    writer.rewrite()
    kept = Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type not in MOVING | {"Cast"} and node.name not in chosen
    )
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kept.items()))
    left = (f"kept in float32: {listed}",) if listed else ()
    return (f"float16 weights and arithmetic in {len(chosen)} operators", *left)


def choose_half(model: Any) -> set[str]:
    """Names of the nodes that compute in float16; those of MOVING follow what they are given."""
    constants = _largest_constants(model)
    weighted = {layer.node.name for layer in find_layers(model)[0]}
    norms = _normalising_layers(model)
    reached: set[str] = set()  # tensors behind a weighted layer; before it is preprocessing
    chosen = set()
    for node in model.graph.node:
        behind = node.name in weighted or any(name in reached for name in node.input)
        if behind:
            reached.update(node.output)
        fits = all(constants.get(name, 0.0) <= LARGEST for name in node.input)
        if behind and fits and node.op_type in HALF and _layer_of(node) not in norms:
            chosen.add(node.name)
    return chosen


def _largest_constants(model: Any) -> dict[str, float]:
    from onnx import TensorProto, numpy_helper

    return {
        tensor.name: float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }


def _layer_of(node: Any) -> str:
    """The Keras layer's path in a node's name."""
    return node.name.rpartition("/")[0]


def _normalising_layers(model: Any) -> set[str]:
    paths = {_layer_of(node) for node in model.graph.node if node.op_type in NORMALISING}
    return paths - {""}


class _Writer:
    """Builds the list of nodes anew, with casts where the two types meet."""

    def __init__(self, model: Any, chosen: set[str]):
        from onnx import TensorProto

        self.graph = model.graph
        self.chosen = chosen
        self.single, self.half = TensorProto.FLOAT, TensorProto.FLOAT16
        self.constants = {
            tensor.name: tensor
            for tensor in model.graph.initializer
            if tensor.data_type == TensorProto.FLOAT
        }
        # Type of every float tensor that is computed; an absent one holds no floats.
        self.types: dict[str, int] = {
            value.name: self.single
            for value in model.graph.input
            if value.type.tensor_type.elem_type == self.single
        }
        self.floats = _float_tensors(model)
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []

    def rewrite(self) -> None:
        outputs = {value.name for value in self.graph.output}
        for node in self.graph.node:
            wanted = self._type_of(node)
            for place, name in enumerate(node.input):
                if name in self.constants or name in self.types:
                    node.input[place] = self._as(name, wanted)
            self.nodes.append(node)
            for place, name in enumerate(node.output):
                if name in self.floats:
                    kind = self.single if node.op_type == "Cast" else wanted
                    if name in outputs and kind == self.half:
                        node.output[place] = f"{node.name}/half:{place}"
                        self._cast(node.output[place], self.single, name)
                        self.casts[name, self.half] = node.output[place]
                        kind = self.single
                    self.types[name] = kind
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        drop_unused(self.graph)

    def _type_of(self, node: Any) -> int:
        if node.name in self.chosen:
            return self.half
        if node.op_type in MOVING:
            given = {self.types[name] for name in node.input if name in self.types}
            return self.half if given == {self.half} else self.single
        return self.single

    def _as(self, name: str, kind: int) -> str:
        """The name under which a float tensor is there in one of the two types."""
        if name in self.constants and kind == self.single:
            return name
        if self.types.get(name) == kind:
            return name
        if (name, kind) not in self.casts:
            suffix = "half" if kind == self.half else "single"
            if name in self.constants:
                self.casts[name, kind] = self._constant(name, f"{name}/{suffix}")
            else:
                self.casts[name, kind] = self._cast(name, kind, f"{name}/{suffix}")
        return self.casts[name, kind]

    def _constant(self, name: str, wanted: str) -> str:
        from onnx import numpy_helper

        values = numpy_helper.to_array(self.constants[name])
        return add_constant(self.graph, wanted, values.astype(np.float16))

    def _cast(self, name: str, kind: int, result: str) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node("Cast", [name], [result], f"{result}/Cast", to=kind))
        return result


def _float_tensors(model: Any) -> set[str]:
    """Names of the computed tensors that hold float32, by shape inference."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
