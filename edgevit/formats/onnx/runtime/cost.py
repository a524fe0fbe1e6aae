"""Multiply-accumulates and bytes of an .onnx file, counted from the file itself.

One multiplication with one addition is one MAC. A matrix product or convolution has as many as its
output has elements, times the length of the sum behind each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgevit.core.roofline import Cost
from edgevit.formats.onnx.runtime.file import damage_told, element_type, read_model

Shape = Sequence[int]
EIGHT_BITS = ("int8", "uint8")
FLOAT, INTEGER = "float32", "int8"
# All other types: 1.
ITEM_BYTES = {"float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "float64": 8}

# ONNX operator -> (place of the first factor, of the second, the length of the sum)
OnnxSum = Callable[[Shape, Shape, dict[str, Any]], int]
_convolve: OnnxSum = lambda x, w, attributes: math.prod(w[1:])  # noqa: E731  (O I/groups H W)
_multiply: OnnxSum = lambda a, b, attributes: a[-1]  # noqa: E731
_gemm: OnnxSum = lambda a, b, attributes: a[0 if attributes.get("transA") else -1]  # noqa: E731
ONNX_SUMS: dict[str, tuple[int, int, OnnxSum]] = {
    "Gemm": (0, 1, _gemm),
    "MatMul": (0, 1, _multiply),
    "Conv": (0, 1, _convolve),
    "MatMulInteger": (0, 1, _multiply),
    "ConvInteger": (0, 1, _convolve),
    "QLinearMatMul": (0, 3, _multiply),
    "QLinearConv": (0, 3, _convolve),
    "FusedConv": (0, 1, _convolve),
    "FusedGemm": (0, 1, _gemm),
    "DynamicQuantizeMatMul": (0, 1, _multiply),
    "MatMulIntegerToFloat": (0, 1, _multiply),
}
ONNX_UNCOUNTED = (
    *("ConvTranspose", "Einsum", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"),
    *("QAttention", "QGemm", "FusedMatMul", "MatMulNBits"),
)


def count_cost(path: Path, batch: int = 1) -> Cost:
    """See :func:`edgevit.formats.registry.count_cost`."""
    model = read_model(path, "Counting an .onnx file's work")
    from onnx.shape_inference import infer_shapes

    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].dim_value:
            sizes[0].dim_value = batch
    for value in model.graph.output:  # may hold another name for the batch
        value.type.tensor_type.ClearField("shape")
    with damage_told(path):
        model = infer_shapes(model, data_prop=True)
    return _OnnxCounter(model).count()


class _OnnxCounter:
    """The counts of one ONNX graph whose shapes were inferred."""

    def __init__(self, model: Any):
        from onnx import helper

        self._graph = model.graph
        self._helper = helper
        self._kinds: dict[str, str] = {}
        self._shapes: dict[str, list[int] | None] = {}
        for value in (*self._graph.input, *self._graph.output, *self._graph.value_info):
            kind = value.type.tensor_type
            sizes = [size.dim_value for size in kind.shape.dim]
            known = kind.HasField("shape") and all(sizes)
            self._shapes[value.name] = sizes if known else None
            self._kinds[value.name] = element_type(kind.elem_type)
        self._constants = {}
        for tensor in self._graph.initializer:
            self._shapes[tensor.name] = list(tensor.dims)
            self._kinds[tensor.name] = element_type(tensor.data_type)
            self._constants[tensor.name] = math.prod(tensor.dims) * self._bytes(tensor.name)
        self._producers = {name: node for node in self._graph.node for name in node.output}

    def count(self) -> Cost:
        macs: Counter[str] = Counter()
        uncounted = set()
        touched: set[str] = set()
        for node in self._graph.node:
            if node.op_type in ONNX_UNCOUNTED:
                uncounted.add(node.op_type)
            if node.op_type not in ONNX_SUMS:
                continue
            first, second, length = ONNX_SUMS[node.op_type]
            names = (node.input[first], node.input[second], node.output[0])
            shapes = [self._shapes.get(name) for name in names]
            a, b, out = shapes
            if a is None or b is None or out is None:
                uncounted.add(node.op_type)
                continue
            attributes = {
                item.name: self._helper.get_attribute_value(item) for item in node.attribute
            }
            kind = INTEGER if self._is_integer(node, names[1]) else FLOAT
            macs[kind] += math.prod(out) * length(a, b, attributes)
            touched.update(map(self._stored, names) if kind == INTEGER else names)
        activations = sum(
            math.prod(self._shapes[name] or [0]) * self._bytes(name)
            for name in touched - set(self._constants)
        )
        return Cost(
            dict(macs), sum(self._constants.values()), activations, tuple(sorted(uncounted))
        )

    def _is_integer(self, node: Any, second: str) -> bool:
        """Whether the runtime multiplies integers, also where the file says so by QDQ pairs."""
        if self._kinds.get(second) in EIGHT_BITS:
            return True
        pair = [self._producers.get(name) for name in (node.input[0], second)]
        return all(
            one is not None
            and one.op_type == "DequantizeLinear"
            and self._kinds.get(one.input[0]) in EIGHT_BITS
            for one in pair
        )

    def _stored(self, name: str) -> str:
        """The 8-bit tensor behind a DequantizeLinear: that is what an integer product reads."""
        pair = self._producers.get(name)
        if pair is None or pair.op_type != "DequantizeLinear":
            return name
        return pair.input[0]

    def _bytes(self, name: str) -> int:
        return ITEM_BYTES.get(self._kinds.get(name, ""), 1)
