"""Dense layers as Gemm, the form for which onnxruntime has integer kernels with a bias.

onnxruntime itself turns a MatMul and the Add after it into Gemm, on any number of axes, but before
it looks for integer kernels; the bias is then no int32 constant, and the layer stays float. So it
is done here, where the bias can still be quantised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.formats.onnx.writer.quantize.layers import add_constant


def write_as_gemm(model: Any) -> None:
    """Rewrites each MatMul by a constant matrix in place, with the Add of a bias after it.

    Left alone: a MatMul on more than two axes without a bias (it has an integer kernel of its own),
    and one whose shape is unknown.
    """
    graph = model.graph
    products = _find_products(model)
    absorbed = {product.add.name for product in products.values() if product.add is not None}
    nodes: list[Any] = []
    for node in graph.node:
        if node.name in products:
            nodes += _as_gemm(graph, products[node.name])
        elif node.name not in absorbed:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


@dataclass(frozen=True)
class _Product:
    """A MatMul that can be a Gemm.

    Attributes:
        node: the MatMul.
        add: the only reader of its output, if that adds a bias.
        bias: float32 N of this Add.
        kernel: (K, N).
        leading: sizes before the last axis, at most one of them -1 (free).
    """

    node: Any
    add: Any
    bias: np.ndarray | None
    kernel: tuple[int, int]
    leading: tuple[int, ...]


def _find_products(model: Any) -> dict[str, _Product]:
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: tuple(size.dim_value or -1 for size in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input)
        if value.type.tensor_type.HasField("shape")
    }
    readers: dict[str, list[Any]] = {value.name: [None] for value in model.graph.output}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        kernel = tuple(constants[node.input[1]].dims)
        leading = shapes.get(node.input[0], ())[:-1]
        if len(kernel) != 2 or not leading or leading.count(-1) > 1:
            continue
        add, bias = _bias_after(node, readers, constants, kernel[1])
        if len(leading) == 1 or add is not None:
            found[node.name] = _Product(node, add, bias, (kernel[0], kernel[1]), leading)
    return found


def _bias_after(
    node: Any, readers: dict[str, list[Any]], constants: dict[str, Any], width: int
) -> tuple[Any, np.ndarray | None]:
    """(the Add that follows a product, the bias that it adds); (None, None) without one."""
    from onnx import numpy_helper

    after = readers.get(node.output[0], [])
    if len(after) != 1 or after[0] is None or after[0].op_type != "Add":
        return None, None
    others = [name for name in after[0].input if name != node.output[0]]
    tensor = constants.get(others[0]) if len(others) == 1 else None
    if tensor is None or not tensor.dims or tensor.dims[-1] != width:
        return None, None
    if np.prod(tensor.dims, dtype=int) != width:
        return None, None
    return after[0], numpy_helper.to_array(tensor).reshape(-1)


def _as_gemm(graph: Any, product: _Product) -> list[Any]:
    """The nodes that take a product's place; the MatMul itself becomes the Gemm."""
    from onnx import helper

    node, path = product.node, product.node.name
    result = node.output[0] if product.add is None else product.add.output[0]
    node.op_type = "Gemm"
    if product.bias is not None:
        node.input.append(add_constant(graph, f"{path}/added", product.bias))
    if len(product.leading) == 1:
        node.output[0] = result
        return [node]
    flat = add_constant(graph, f"{path}/flat", np.array([-1, product.kernel[0]]))
    whole = add_constant(graph, f"{path}/whole", np.array([*product.leading, product.kernel[1]]))
    before, after = f"{path}/rows", f"{path}/products"
    reshape = helper.make_node("Reshape", [node.input[0], flat], [before], f"{path}/Reshape")
    node.input[0], node.output[0] = before, after
    return [reshape, node, helper.make_node("Reshape", [after, whole], [result], f"{path}/Restore")]
