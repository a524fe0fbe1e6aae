"""Names in an ONNX graph: equal in every export, and telling the Keras layer of each node."""

from __future__ import annotations

import re
from typing import Any

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
NO_LAYERS = re.compile(r"Tensordot(_\d+)?$")


def make_names_canonical(model: Any) -> None:
    """Replaces a converter's running numbers, which go on from one export to the next.

    Nodes are called after their Keras layer and operator, values after their node, constants after
    the first node that takes them; inputs and outputs of the graph keep their names.

    Args:
        model: ONNX ModelProto; changed in place.
    """
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    renamed: dict[str, str] = {"": ""}
    taken: set[str] = set(kept)

    def unique(wanted: str) -> str:
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        return name

    users: dict[str, tuple[int, int]] = {}
    for number, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            users.setdefault(name, (number, place))
    unused = (len(graph.node), 0)
    paths = _paths(graph, users)
    order = sorted(graph.initializer, key=lambda tensor: users.get(tensor.name, unused))
    for node, path in zip(graph.node, paths, strict=True):
        node.name = unique(f"{path}/{node.op_type}".lstrip("/"))
        for number, output in enumerate(node.output):
            if output and output not in kept:
                renamed[output] = f"{node.name}:{number}"
    for tensor in order:
        # After its first user: of several equal constants tf2onnx keeps now one, now another.
        number, place = users.get(tensor.name, unused)
        user = graph.node[number] if tensor.name in users else None
        role = ROLES.get(user.op_type, {}).get(place, "constant") if user else "constant"
        renamed[tensor.name] = unique(f"{user.name if user else 'unused'}/{role}")
        tensor.name = renamed[tensor.name]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                side[place] = renamed.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(order)
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)
    kept_info = sorted(
        (value for value in graph.value_info if value.name in set(renamed.values())),
        key=lambda value: value.name,
    )
    info = [value.SerializeToString(deterministic=True) for value in kept_info]
    del graph.value_info[:]
    for data in info:
        graph.value_info.add().ParseFromString(data)
    graph.name = "edgevit"
    graph.doc_string = ""


def _paths(graph: Any, users: dict[str, tuple[int, int]]) -> list[str]:
    """Each node's layer path; where there is none, that of a node before or behind it."""
    paths: list[str] = [layer_path(node.name) for node in graph.node]
    made = {name: number for number, node in enumerate(graph.node) for name in node.output}
    for number, node in enumerate(graph.node):
        before = (paths[made[name]] for name in node.input if name in made)
        paths[number] = paths[number] or next((path for path in before if path), "")
    for number in reversed(range(len(paths))):
        readers = (users[name][0] for name in graph.node[number].output if name in users)
        paths[number] = paths[number] or next((paths[reader] for reader in readers), "")
    return paths


def layer_path(name: str) -> str:
    """The Keras layer's path in a TensorFlow node name, without numbers that run on."""
    parts = [part for part in re.split(r"[/;]", name) if not part.startswith("StatefulPartitioned")]
    parts = [re.sub(r"(__\d+|_\d+)$", "", part.split(":")[0]) for part in parts[:-1]]
    return "/".join(part for part in parts if part and not NO_LAYERS.match(part))
