"""Whether images are B C H W or B H W C between their layers, with the fewest numbers moved.

tf2onnx writes images B H W C, with two Transposes around each convolution, pooling and resize,
which are B C H W in ONNX. Whatever works on numbers one by one, on channels one by one or along an
axis that can be named (activations, sums, Concat, Pad, means over pixels) takes either order. Which
of them is cheapest for each node is a minimum cut: a tensor that is written in one order and read
in the other costs as many numbers as it has, however many nodes read it. Where both cost the same,
a node keeps B H W C.

1x1 convolutions take either as well, and so do those that cut patches: in the middle of B H W C
they are Gemms (see :mod:`.lower_convolution`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    attributes_of,
    axes_of,
    constant,
    dims,
    operand,
    optional,
    remove_unread,
    replace,
    reshape,
    set_constant,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.cancel_transposes import cancel_transposes
from edgevit.formats.onnx.writer.passes.lower_convolution import find_product
from edgevit.formats.passes import Declined, Pass, PassReport
from edgevit.quantization.minimum_cut import NEVER, SINK, SOURCE, FlowNetwork

FIRST, LAST = SOURCE, SINK  # channels first, channels last: the sides of the cut
UNARY = (
    *("Abs", "Cast", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
    *("HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round"),
    *("Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
)
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "Sum", "Mean")
REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2")
CHANNELS_FIRST = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("Resize", "DepthToSpace", "SpaceToDepth", "BatchNormalization", "InstanceNormalization"),
    "LRN",
)


def to_first(rank: int) -> tuple[int, ...]:
    """Permutation from channels last to channels first."""
    return (0, rank - 1, *range(1, rank - 1))


def to_last(rank: int) -> tuple[int, ...]:
    """Permutation from channels first to channels last."""
    return (0, *range(2, rank), 1)


@dataclass
class Tensor:
    """An image in both orders.

    Attributes:
        writer: what it costs is asked of: a node's number in the network, FIRST or LAST.
        size: numbers in it.
        readers: likewise.
    """

    writer: int
    size: int
    readers: list[int] = field(default_factory=list)


def _run(model: ir.Model) -> PassReport:
    orders = _read_orders(model)
    free = [node for node in model.graph if _is_free(node, orders)]
    numbers = {node: 2 + place for place, node in enumerate(free)}
    first = _divide(model, orders, numbers)
    moved = 0
    for node, is_first in zip(free, first, strict=True):
        if is_first and node.op_type != "Conv":
            _move(node)
            moved += 1
    if moved:
        # Before Transposes meet: a Gemm needs those around its convolution.
        for node, is_first in zip(free, first, strict=True):
            found = None if is_first or node.op_type != "Conv" else find_product(node)
            if found is not None and not isinstance(found, Declined):
                found()
        remove_unread(model)
        cancel_transposes.run(model)
    return PassReport("place_channels", moved)


def _divide(
    model: ir.Model, orders: dict[ir.Value, int], numbers: dict[ir.Node, int]
) -> np.ndarray:
    """Whether channels come first for each free node."""
    network = FlowNetwork(len(numbers))
    tensors: dict[ir.Value, Tensor] = {}
    for node in model.graph:
        if _is_turn(node, orders):
            continue
        for value in set(node.inputs):
            if value is None or value not in orders:
                continue
            tensor = _tensor(value, orders, numbers, tensors)
            tensor.readers.append(numbers.get(node, orders[value]))
    for value in model.graph.outputs:
        if value in orders:
            tensor = _tensor(value, orders, numbers, tensors)
            tensor.readers.append(orders[value])
    for tensor in tensors.values():
        readers = sorted(set(tensor.readers))
        network.add_tensor(tensor.writer, readers, tensor.size, tensor.size)
    return network.cut()


def _tensor(
    value: ir.Value,
    orders: dict[ir.Value, int],
    numbers: dict[ir.Node, int],
    tensors: dict[ir.Value, Tensor],
) -> Tensor:
    """The image behind a value, through Transposes from one order to the other."""
    node = value.producer()
    while node is not None and _is_turn(node, orders):
        value = operand(node, 0)
        node = value.producer()
    if value not in tensors:
        writer = orders[value] if node is None else numbers.get(node, orders[value])
        size = int(np.prod([length or 1 for length in dims(value)]))
        tensors[value] = Tensor(writer, min(size, int(NEVER) // 8))
    return tensors[value]


def _read_orders(model: ir.Model) -> dict[ir.Value, int]:
    """How every image is written now; no entry for what is none."""
    orders: dict[ir.Value, int] = {}
    for value in model.graph.inputs:
        if len(dims(value)) > 2:
            orders[value] = LAST
    for node in model.graph:
        for value in node.outputs:
            rank = len(dims(value))
            if rank < 3:
                continue
            order = LAST
            if node.op_type in CHANNELS_FIRST:
                order = FIRST
            elif node.op_type == "Transpose" and node.inputs[0] in orders:
                source = orders[operand(node, 0)]
                permutation = tuple(attribute(node, "perm", ()))
                order = source
                if permutation == to_first(rank) and source == LAST:
                    order = FIRST
                elif permutation == to_last(rank) and source == FIRST:
                    order = LAST
            elif node.op_type in (*UNARY, *ELEMENTWISE):
                known = [orders[part] for part in node.inputs if part in orders]
                order = known[0] if known else LAST
            orders[value] = order
    return orders


def _is_turn(node: ir.Node, orders: dict[ir.Value, int]) -> bool:
    """Whether a Transpose goes from one order to the other."""
    if node.op_type != "Transpose" or node.inputs[0] not in orders:
        return False
    return orders[operand(node, 0)] != orders[node.outputs[0]]


def _is_free(node: ir.Node, orders: dict[ir.Value, int]) -> bool:
    """Whether a node takes either order."""
    if node.domain or len(node.outputs) != 1:
        return False
    if node.op_type == "Conv":
        return _is_product(node)
    images = [value for value in node.inputs if value is not None and constant(value) is None]
    if any(orders.get(value, LAST) != LAST for value in images) or not images:
        return False
    result = node.outputs[0]
    rank = max((len(dims(value)) for value in images), default=0)
    if node.op_type == "Reshape":
        return _spreads_channels(node) or _flattens(node)
    if rank < 3 or orders.get(result, LAST) != LAST:
        return False
    if node.op_type in UNARY:
        return True
    if node.op_type in ELEMENTWISE:
        return all(len(dims(value)) == rank for value in images)
    if node.op_type == "Concat":
        return len(images) == len(node.inputs)
    if node.op_type == "Pad":
        return constant(node.inputs[1]) is not None and len(node.inputs) < 4
    if node.op_type in REDUCTIONS:
        axes = axes_of(node, rank)
        kept = attribute(node, "keepdims", 1)
        return axes is not None and (bool(kept) or axes == tuple(range(1, rank - 1)))
    return False


def _is_product(node: ir.Node) -> bool:
    """Whether a convolution can be a Gemm; see :mod:`.lower_convolution`."""
    kernel = constant(node.inputs[1])
    if kernel is None or kernel.ndim != 4 or attribute(node, "group", 1) != 1:
        return False
    if any(attribute(node, "pads", ())) or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return False
    return tuple(attribute(node, "strides", (1, 1))) == kernel.shape[2:]


def _spreads_channels(node: ir.Node) -> bool:
    """Whether a Reshape makes B C an image of one pixel."""
    before, after = dims(operand(node, 0)), dims(node.outputs[0])
    return (
        len(before) == 2
        and len(after) > 2
        and after[1:-1] == (1,) * (len(after) - 2)
        and after[-1] == before[-1]
        and after[-1] is not None
        and constant(node.inputs[1]) is not None
    )


def _flattens(node: ir.Node) -> bool:
    """Whether a Reshape makes rows of images, and a product with a constant matrix reads them."""
    before, after = dims(operand(node, 0)), dims(node.outputs[0])
    if len(before) < 3 or len(after) != 2 or None in before[1:] or after[0] != before[0]:
        return False
    if all(length == 1 for length in before[1:-1]):
        return True
    reader = sole_reader(node.outputs[0])
    kernel = constant(optional(reader, 1)) if reader is not None else None
    return (
        reader is not None
        and reader.op_type == "MatMul"
        and reader.inputs[0] is node.outputs[0]
        and kernel is not None
        and kernel.ndim == 2
    )


def _move(node: ir.Node) -> None:
    """The same node on channels first, between Transposes that meet others."""
    result = node.outputs[0]
    rank = max(len(dims(value)) for value in (*node.inputs, result))
    order = to_first(rank)
    inputs = [_turned(node, value, order) for value in node.inputs]
    attributes = attributes_of(node)
    if node.op_type == "Reshape":
        _move_reshape(node, inputs[0], rank)
        return
    shape = tuple(dims(result)[axis] for axis in order) if len(dims(result)) == rank else None
    if node.op_type == "Concat":
        attributes["axis"] = order.index(attributes["axis"] % rank)
    elif node.op_type == "Pad":
        inputs = [inputs[0], *node.inputs[1:]]
        widths = constant(node.inputs[1])
        assert widths is not None
        pairs = widths.reshape(2, -1)[:, list(order)].reshape(-1)
        inputs[1] = add_constant(node, pairs, "pads")
    elif node.op_type in REDUCTIONS:
        _move_reduction(node, inputs[0], rank)
        return
    assert shape is not None
    value = add_node(node, node.op_type, inputs, shape, attributes, dtype=result.dtype)
    replace(result, _back(node, value, dims(result)))


def _move_reduction(node: ir.Node, x: ir.Value | None, rank: int) -> None:
    """A mean over all pixels is a pooling, another one names other axes."""
    assert x is not None
    result, order = node.outputs[0], to_first(rank)
    axes = axes_of(node, rank) or ()
    kept = bool(attribute(node, "keepdims", 1))
    over = tuple(sorted(order.index(axis) for axis in axes))
    lengths = [1 if axis in over else length for axis, length in enumerate(dims(x))]
    if node.op_type == "ReduceMean" and over == tuple(range(2, rank)):
        value = add_node(node, "GlobalAveragePool", [x], lengths)
        value = value if kept else reshape(node, value, dims(result))
    else:
        shape = lengths if kept else dims(result)
        value = _reduce(node, x, over, shape)
    replace(result, _back(node, value, dims(result)) if kept else value)


def _reduce(
    node: ir.Node, x: ir.Value, axes: tuple[int, ...], shape: tuple[int | None, ...] | list
) -> ir.Value:
    attributes = attributes_of(node)
    if "axes" in attributes:
        return add_node(node, node.op_type, [x], shape, {**attributes, "axes": axes})
    inputs = [x, add_constant(node, np.array(axes, np.int64), "axes")]
    return add_node(node, node.op_type, inputs, shape, attributes)


def _move_reshape(node: ir.Node, x: ir.Value | None, rank: int) -> None:
    """To or from images, whose rows in a matrix behind it are in another order then."""
    assert x is not None
    result = node.outputs[0]
    if len(dims(result)) == rank:
        shape = tuple(dims(result)[axis] for axis in to_first(rank))
        replace(result, _back(node, reshape(node, x, shape), dims(result)))
        return
    reader, lengths = sole_reader(result), dims(operand(node, 0))[1:]
    replace(result, reshape(node, x, dims(result)))
    if reader is not None and any(length != 1 for length in lengths[:-1]):
        kernel = constant(reader.inputs[1])
        assert kernel is not None
        places = np.arange(kernel.shape[0]).reshape([length or 0 for length in lengths])
        set_constant(reader, 1, kernel[np.moveaxis(places, -1, 0).reshape(-1)], "kernel")


def _turned(node: ir.Node, value: ir.Value | None, order: tuple[int, ...]) -> ir.Value | None:
    """An operand with channels first; a constant of few numbers or axes is written out."""
    array, rank = constant(value), len(order)
    if value is None or (array is None and len(dims(value)) != rank):
        return value
    if array is None:
        shape = tuple(dims(value)[axis] for axis in order)
        return add_node(node, "Transpose", [value], shape, {"perm": order})
    if array.size == 1 or node.op_type in ("Clip", "Reshape", "Pad") or array.ndim > rank:
        return value
    full = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order)
    return add_constant(node, full, "operand")


def _back(node: ir.Node, value: ir.Value, shape: tuple[int | None, ...]) -> ir.Value:
    return add_node(node, "Transpose", [value], shape, {"perm": to_last(len(shape))})


place_channels = Pass(
    "place_channels",
    "channels first or last, with the fewest numbers moved in between",
    _run,
)
