"""Names in an ONNX graph: equal in every export, and telling the Keras layer of each node."""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx_ir as ir

from edgevit.base.naming import take_name

# What an operator's constant inputs are called, by their place.
ROLES = {
    "Gemm": {1: "kernel", 2: "bias"},
    "MatMul": {1: "kernel"},
    "Conv": {1: "kernel", 2: "bias"},
    "LayerNormalization": {1: "scale", 2: "offset"},
    "Reshape": {1: "shape"},
    "Split": {1: "lengths"},
    "Pad": {1: "pads", 2: "value"},
    "Slice": {1: "starts", 2: "stops", 3: "axes"},
    "Resize": {2: "scales"},
    "ReduceMean": {1: "axes"},
}
# Parts of a TensorFlow name that are no layer.
RUNNING = re.compile(r"__\d+")  # tf2onnx's numbers
# Beginning of the name of a length that is not fixed. It is tf2onnx's: tract takes such names for
# none, where it would compare others, and refuse one that is 256 times another.
UNKNOWN = "unk__"
NO_LAYERS = re.compile(r"Tensordot(_\d+)?$")


def make_names_canonical(model: ir.Model) -> None:
    """Replaces a converter's running numbers, which go on from one export to the next.

    Nodes are called after their Keras layer and operator, values after their node, constants after
    the first node that takes them; inputs and outputs of the graph keep their names.
    """
    graph, nodes = model.graph, list(model.graph)
    kept = {value.name for value in (*graph.inputs, *graph.outputs)}
    taken = {name for name in kept if name}

    users: dict[ir.Value | None, tuple[int, int]] = {}  # value -> its first reader, and the place
    for number, node in enumerate(nodes):
        for place, value in enumerate(node.inputs):
            users.setdefault(value, (number, place))
    unused = (len(nodes), 0)
    # Constants after their first user: of several equal ones tf2onnx keeps now one, now another.
    constants = sorted(graph.initializers.values(), key=lambda value: users.get(value, unused))
    graph.initializers.clear()
    paths = _paths(nodes, users)
    for node, path in zip(nodes, paths, strict=True):
        node.name = take_name(f"{path}/{node.op_type}".lstrip("/"), taken)
        node.doc_string = ""
        node.metadata_props.clear()
        for number, output in enumerate(node.outputs):
            if output.name and output.name not in kept:
                output.name = f"{node.name}:{number}"
    for value in constants:
        number, place = users.get(value, unused)
        user = nodes[number] if value in users else None
        role = ROLES.get(user.op_type, {}).get(place, "constant") if user else "constant"
        value.name = take_name(f"{user.name if user else 'unused'}/{role}", taken)
        graph.register_initializer(value)
    graph.name = "edgevit"
    graph.doc_string = ""
    made = (value for node in graph for value in node.outputs)
    _number_lengths(dict.fromkeys([*graph.inputs, *graph.outputs, *made, *constants]))


def _number_lengths(values: Iterable[ir.Value]) -> None:
    """Numbers the lengths that are not fixed anew, in the order of the values that have them."""
    names: dict[str | None, str] = {None: ""}

    def renamed(length: int | ir.SymbolicDim) -> int | str | None:
        if isinstance(length, int):
            return length
        return names.setdefault(length.value, f"{UNKNOWN}{len(names)}") or None

    for value in values:
        for key, text in value.metadata_props.items():
            value.metadata_props[key] = RUNNING.sub("", text)
        if value.shape is not None:  # a new one: values share shapes
            value.shape = ir.Shape(renamed(length) for length in value.shape)


def _paths(nodes: list[ir.Node], users: dict[ir.Value | None, tuple[int, int]]) -> list[str]:
    """Each node's layer path; where there is none, that of a node before or behind it."""
    paths = [layer_path(node.name or "") for node in nodes]
    numbers = {node: number for number, node in enumerate(nodes)}
    for number, node in enumerate(nodes):
        before = (value.producer() for value in node.inputs if value is not None)
        found = (paths[numbers[maker]] for maker in before if maker is not None)
        paths[number] = paths[number] or next((path for path in found if path), "")
    for number, node in reversed(list(enumerate(nodes))):
        found = (paths[users[value][0]] for value in node.outputs if value in users)
        paths[number] = paths[number] or next(found, "")
    return paths


def layer_path(name: str) -> str:
    """The Keras layer's path in a TensorFlow node name, without numbers that run on."""
    parts = [part for part in re.split(r"[/;]", name) if not part.startswith("StatefulPartitioned")]
    parts = [re.sub(r"(__\d+|_\d+)$", "", part.split(":")[0]) for part in parts[:-1]]
    return "/".join(part for part in parts if part and not NO_LAYERS.match(part))
