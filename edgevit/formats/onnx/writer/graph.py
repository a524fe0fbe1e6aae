"""Looking at an ONNX graph and changing it: what passes and quantisers share.

Values and nodes are those of onnx-ir, where a value knows its producer and its readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array behind a value that is the same in every run; None for any other."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def operand(node: ir.Node, place: int) -> ir.Value:
    """An input that the operator does not go without."""
    value = node.inputs[place]
    assert value is not None
    return value


def optional(node: ir.Node, place: int) -> ir.Value | None:
    """An input that may be left out."""
    return node.inputs[place] if place < len(node.inputs) else None


def trained(node: ir.Node, place: int) -> np.ndarray:
    """A constant input that a check has made sure of."""
    array = constant(node.inputs[place])
    assert array is not None
    return array


def count_of(shape: Sequence[int | None]) -> int | None:
    """Product of lengths; None if one is not fixed."""
    count = 1
    for length in shape:
        if length is None:
            return None
        count *= length
    return count


def scalar(value: ir.Value | None) -> float | None:
    """The number behind a constant of one element; None for any other value."""
    array = constant(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def dims(value: ir.Value | None) -> tuple[int | None, ...]:
    """Lengths of a value's axes, None where one is not fixed; () if not even the rank is known.

    A scalar has () as well; no rewrite starts from one.
    """
    if value is None or value.shape is None:
        return ()
    return tuple(part if isinstance(part, int) else None for part in value.shape)


def readers(value: ir.Value) -> list[ir.Node]:
    """The nodes that read a value, one entry for each input that it feeds."""
    return [use.node for use in value.uses()]


def sole_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value; None if there are others or the graph returns it."""
    found = {id(node): node for node in readers(value)}
    if len(found) != 1 or value.is_graph_output():
        return None
    return next(iter(found.values()))


def read_outside(x: ir.Value, result: ir.Value) -> str | None:
    """Whether a region from x to its result is read by others, which a fusion would cut off.

    Returns:
        The type of an inner node whose value is read outside, or returned by the graph; else None.
    """
    inner: dict[int, ir.Node] = {}
    waiting = [result]
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value is x or node is None or id(node) in inner or constant(value) is not None:
            continue
        inner[id(node)] = node
        waiting.extend(part for part in node.inputs if part is not None)
    for node in inner.values():
        for value in node.outputs:
            if value is result:
                continue
            if value.is_graph_output() or any(id(use) not in inner for use in readers(value)):
                return node.op_type
    return None


def other_operand(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The operand of a node of two that is not this one."""
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def last_axis(value: ir.Value | None, length: int | None = None) -> np.ndarray | None:
    """A constant that varies along the last axis alone, as an array of that axis.

    Args:
        value: a constant of shape (C), (1, C), (1, 1, C) ..., or of one element.
        length: C; a single element is repeated so often.
    """
    array = constant(value)
    if array is None:
        return None
    if array.size == 1:
        return np.full(length or 1, array.reshape(()))
    if array.shape[-1] != array.size or array.size != (length or array.size):
        return None
    return array.reshape(-1)


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that computes a value, if it is of one of these types."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in op_types and not node.domain else None


def maker(value: ir.Value) -> ir.Node:
    """The node that computes a value which is computed."""
    node = value.producer()
    assert node is not None
    return node


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute's plain value."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def attributes_of(node: ir.Node) -> dict[str, Any]:
    """All attributes' plain values by name."""
    return {key: item.value for key, item in node.attributes.items()}


def axes_of(node: ir.Node, rank: int) -> tuple[int, ...] | None:
    """Sorted axes of a reduction, counted from 0; None if they are not constant.

    From opset 18 on they are an input, before an attribute.
    """
    given = attribute(node, "axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        array = constant(node.inputs[1])
        if array is None:
            return None
        given = array.tolist()
    if given is None:
        return tuple(range(rank))
    return tuple(sorted(int(axis) % rank for axis in given))


def path_of(node: ir.Node) -> str:
    """The Keras layer's path: a node's name without its last part."""
    return (node.name or "").rpartition("/")[0]


def add_node(
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    shape: Sequence[int | None],
    attributes: Mapping[str, Any] | None = None,
    path: str | None = None,
    dtype: ir.DataType | None = None,
    domain: str = "",
) -> ir.Value:
    """Puts a node with one output in front of another.

    Args:
        before: an existing node.
        op_type: of the new one.
        inputs: of the new one.
        shape: of its output; None is a length that is not fixed.
        attributes: of the new one.
        path: the Keras layer's; None: that of ``before``.
        dtype: of its output; None: that of the first input.
        domain: of the operator; "" is standard ONNX.

    Returns:
        The new node's output.
    """
    name = f"{path_of(before) if path is None else path}/{op_type}"
    kind = dtype or next(value for value in inputs if value is not None).dtype
    output = ir.Value(
        type=ir.TensorType(kind) if kind is not None else None, shape=ir.Shape(list(shape))
    )
    node = ir.node(
        op_type, inputs, attributes=attributes or {}, outputs=[output], name=name, domain=domain
    )
    graph_of(before).insert_before(before, node)
    return output


def add_split(
    before: ir.Node,
    inputs: Sequence[ir.Value],
    axis: int,
    shapes: Sequence[Sequence[int | None]],
) -> list[ir.Value]:
    """Puts a Split in front of a node; its parts, of these shapes."""
    kind = inputs[0].type
    outputs = [ir.Value(type=kind, shape=ir.Shape(list(shape))) for shape in shapes]
    name = f"{path_of(before)}/Split"
    node = ir.node("Split", inputs, {"axis": axis}, outputs=outputs, name=name)
    graph_of(before).insert_before(before, node)
    return outputs


def graph_of(node: ir.Node) -> ir.Graph:
    """The graph that a node is in."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    return graph


def add_constant(before: ir.Node, array: np.ndarray, role: str) -> ir.Value:
    """A constant for a node: an initializer called after the node and its role."""
    graph = graph_of(before)
    wanted = f"{before.name or before.op_type}/{role}"
    name, number = wanted, 1
    while name in graph.initializers:
        number += 1
        name = f"{wanted}_{number}"
    return initializer(graph, array, name)


def set_constant(node: ir.Node, place: int, array: np.ndarray, role: str) -> None:
    """A constant in place of an input, which may have been left out."""
    if place >= len(node.inputs):
        node.resize_inputs(place + 1)
    node.replace_input_with(place, add_constant(node, array, role))


def initializer(graph: ir.Graph, array: np.ndarray, name: str) -> ir.Value:
    """A constant of a graph under a name that no other has."""
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
    value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def reshape(
    before: ir.Node, value: ir.Value, shape: Sequence[int | None], path: str | None = None
) -> ir.Value:
    """A Reshape to a shape with at most one length that is not fixed; nothing if it has it."""
    if dims(value) == tuple(shape) and None not in shape:
        return value
    target = np.array([-1 if length is None else length for length in shape], np.int64)
    return add_node(
        before, "Reshape", [value, add_constant(before, target, "shape")], shape, path=path
    )


def replace(old: ir.Value, new: ir.Value) -> None:
    """Everything that read one value reads another; an output of the graph keeps its name."""
    if old.is_graph_output():
        name = old.name
        if new.is_graph_input() or new.is_graph_output() or new.producer() is None:
            new = add_node(maker(old), "Identity", [new], dims(old))
        old.name = f"{name}/replaced"
        new.name = name
        new.shape = old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def named_node(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    name: str,
    attributes: Mapping[str, Any] | None = None,
    outputs: Sequence[ir.Value] = (),
    count: int = 1,
) -> ir.Node:
    """A node that is in no graph yet.

    Args:
        op_type: operator of standard ONNX.
        inputs: its operands.
        name: its name; outputs are called after it and their place.
        attributes: by name.
        outputs: values that it computes; none: new ones.
        count: how many new ones.
    """
    made = [ir.Value(name=f"{name}:{place}") for place in range(0 if outputs else count)]
    return ir.node(
        op_type, inputs, attributes=attributes or {}, outputs=[*outputs, *made], name=name
    )


def split_off(value: ir.Value, name: str) -> ir.Value:
    """A value without a producer that takes the readers and the name of another.

    Args:
        value: what is read now; the graph may return it.
        name: that it has from now on.
    """
    outer = ir.Value(name=value.name, shape=value.shape, type=value.type)
    value.name = name
    value.replace_all_uses_with(outer, replace_graph_outputs=True)
    return outer


def forget_shapes(model: ir.Model) -> None:
    """Shapes and types are kept of what the graph takes and returns only."""
    graph = model.graph
    inner = [value for node in graph for value in node.outputs if not value.is_graph_output()]
    for value in (*inner, *graph.initializers.values()):
        value.shape, value.type = None, None
        value.metadata_props.clear()


def remove_unread(model: ir.Model) -> None:
    """Drops nodes and constants that nothing reads."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)
