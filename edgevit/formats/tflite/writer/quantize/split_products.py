"""Products of two activations in int8, as one FULLY_CONNECTED a matrix.

LiteRT's BATCH_MATMUL repacks both operands of every matrix by itself and was measured at 6 billion
multiplications a second in int8; its FULLY_CONNECTED, which takes a computed second operand as well
as a stored one, at 25 (one AVX2 thread; neither is delegated to XNNPACK). A batch of 4 products of
144 x 64 by 64 x 144 takes 0.35 instead of 1.7 milliseconds with UNPACK and PACK around it, so the
attention of a vision transformer is written that way. Both compute the same sums; one value in
fifty or so rounds to the level beside it.

LiteRT's "8-bit quantization specification" asks for a zero point of 0 in the second operand of
FULLY_CONNECTED, so its range is made symmetric before quantising.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgevit.formats.tflite.operators import Role, names_of
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges

LEAST_WORK = 4096  # multiplications of one product; below, UNPACK and PACK cost more than they save
MOVES = names_of(Role.MOVES)


def level_ranges(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """The ranges that give second operands of products a zero point of 0.

    Args:
        graph: float32; it stays as it is.
        ranges: (smallest, largest) by tensor name.

    Returns:
        The ranges, with those of second operands, and of what they are reshaped from, symmetric:
        -128 and 127 times the scale.
    """
    made = graph.makers()
    found = dict(ranges)
    for product in graph.operators:
        if graph.kind(product) != "BATCH_MATMUL" or not _pays(graph, product):
            continue
        moved = tensors_of_equal_scale(graph, made, int(product.inputs[1]))
        names = [graph.name(tensor) for tensor in moved]
        known = [value for name in names if name in found for value in found[name]]
        if not known:
            continue
        largest = max(abs(value) for value in known)
        found |= {name: (-largest * 128 / 127, largest) for name in names if name in found}
    return found


def tensors_of_equal_scale(graph: TfliteGraph, made: dict[int, Any], tensor: int) -> list[int]:
    """A tensor and those that it is moved from: kernels of moves copy levels as they are.

    Args:
        graph: where they are.
        made: the operator behind each tensor.
        tensor: where to begin.
    """
    found = [tensor]
    while found[-1] in made and graph.kind(made[found[-1]]) in MOVES:
        found.append(int(made[found[-1]].inputs[0]))
    return found


def split_products(graph: TfliteGraph) -> tuple[str, ...]:
    """Rewrites BATCH_MATMUL where that pays.

    Args:
        graph: integer-only; changed in place.

    Returns:
        Steps taken; none if the graph is as it was.
    """
    operators: list[Any] = []
    products = matrices = 0
    for operator in graph.operators:
        if graph.kind(operator) == "BATCH_MATMUL" and _can_be_split(graph, operator):
            products, matrices = products + 1, matrices + _count(graph, operator)
            operators += _write(graph, operator)
        else:
            operators.append(operator)
    if not products:
        return ()
    graph.operators = operators
    _merge_transposes(graph)
    graph.prune()
    return (f"{products} BATCH_MATMUL as {matrices} FULLY_CONNECTED",)


def _pays(graph: TfliteGraph, product: Any) -> bool:
    """Whether a product is of fixed size, of two activations, and large enough."""
    x, other, y = (int(index) for index in (*product.inputs[:2], product.outputs[0]))
    if any(graph.is_constant(tensor) for tensor in (x, other)):
        return False
    if product.builtinOptions.adjX or any(graph.is_free(tensor) for tensor in (x, other, y)):
        return False
    left, right = graph.shape(x), graph.shape(other)
    if len(left) < 3 or left[:-2] != right[:-2]:  # nothing is repeated
        return False
    return math.prod(graph.shape(y)[-2:]) * left[-1] >= LEAST_WORK


def _can_be_split(graph: TfliteGraph, product: Any) -> bool:
    tensors = (*product.inputs[:2], product.outputs[0])
    return {graph.type(int(tensor)) for tensor in tensors} == {"int8"} and _pays(graph, product)


def _count(graph: TfliteGraph, product: Any) -> int:
    return math.prod(graph.shape(int(product.inputs[0]))[:-2])


def _write(graph: TfliteGraph, product: Any) -> list[Any]:
    """What takes the place of a BATCH_MATMUL."""
    x, other, y = (int(index) for index in (*product.inputs[:2], product.outputs[0]))
    count = _count(graph, product)
    written: list[Any] = []
    if not product.builtinOptions.adjY:  # FULLY_CONNECTED takes rows of outputs
        rank = len(graph.shape(other))
        order = [*range(rank - 2), rank - 1, rank - 2]
        shape = [graph.shape(other)[axis] for axis in order]
        turned = _like(graph, other, y, "turned", shape)
        places = graph.add_near(y, "order", (rank,), "int32", np.array(order, np.int32))
        written.append(graph.make_int8("TRANSPOSE", [other, places], [turned], "TransposeOptions"))
        other = turned
    lefts = _unpack(graph, x, y, "left", count, written)
    rights = _unpack(graph, other, y, "right", count, written)
    size = graph.shape(y)[-2:]
    results = [_like(graph, y, y, "product", size) for _ in range(count)]
    for left, right, result in zip(lefts, rights, results, strict=True):
        written.append(
            graph.make_int8(
                "FULLY_CONNECTED",
                [left, right, -1],
                [result],
                "FullyConnectedOptions",
                fusedActivationFunction=0,
            )
        )
    packed = results[0]
    if count > 1:
        packed = _like(graph, y, y, "products", (count, *size))
        options = {"valuesCount": count, "axis": 0}
        written.append(graph.make_int8("PACK", results, [packed], "PackOptions", **options))
    written.append(graph.make_reshape(packed, y, y))
    return written


def _unpack(
    graph: TfliteGraph, tensor: int, near: int, role: str, count: int, written: list[Any]
) -> list[int]:
    """The matrices of a tensor."""
    size = graph.shape(tensor)[-2:]
    stacked = _like(graph, tensor, near, f"{role}s", (count, *size) if count > 1 else size)
    written.append(graph.make_reshape(tensor, stacked, near))
    if count == 1:
        return [stacked]
    parts = [_like(graph, tensor, near, role, size) for _ in range(count)]
    written.append(graph.make_int8("UNPACK", [stacked], parts, "UnpackOptions", num=count, axis=0))
    return parts


def _merge_transposes(graph: TfliteGraph) -> None:
    """A TRANSPOSE that only another one reads becomes a part of it."""
    made = graph.makers()
    for operator in list(graph.operators):
        if graph.kind(operator) != "TRANSPOSE":
            continue
        before = made.get(int(operator.inputs[0]))
        if before is None or graph.kind(before) != "TRANSPOSE":
            continue
        middle = int(operator.inputs[0])
        orders = [graph.constant(int(op.inputs[1])) for op in (before, operator)]
        shared = len(list(graph.readers(middle))) > 1 or graph.is_output(middle)
        if shared or orders[0] is None or orders[1] is None:
            continue
        order = orders[0][orders[1]]
        near = int(operator.outputs[0])
        order = np.asarray(order, np.int32)
        places = graph.add_near(near, "order", order.shape, "int32", order)
        operator.inputs = np.array([int(before.inputs[0]), places], np.int32)
        graph.operators = [op for op in graph.operators if op is not before]


def _like(graph: TfliteGraph, tensor: int, near: int, role: str, shape: Any) -> int:
    """A tensor with the scale of one and the layer of another."""
    made = graph.add_near(near, role, shape, "int8")
    graph.tensors[made].quantization = graph.tensors[tensor].quantization
    return made
