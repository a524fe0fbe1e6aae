"""The operators of a .tflite file by name and layer, and LiteRT's kernel times put to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit.core.parity import NodeTime
from edgevit.formats.layer_names import layers_of_tensors
from edgevit.formats.tflite.runtime.file import is_constant, op_names, parse_model, tensor_name
from edgevit.formats.tflite.runtime.profiler import KernelTime
from edgevit.formats.tflite.runtime.xnnpack_kernels import assign_kernels


@dataclass(frozen=True)
class FileNode:
    """One operator of the first subgraph.

    Attributes:
        name: of the tensor that it computes, without what was fused into it.
        op: operator.
        layer: path of the Keras layer; empty where it cannot be told.
    """

    name: str
    op: str
    layer: str


def read_nodes(path: Path) -> list[FileNode]:
    """Operators of the first subgraph, in the order of the file.

    Raises:
        ModelFileError: it is no TFLite file, or damaged.
    """
    return list_nodes(parse_model(path.read_bytes(), str(path)))


def list_nodes(model: Any) -> list[FileNode]:
    """As :func:`read_nodes`, of a ``ModelT``."""
    graph = model.subgraphs[0]
    names = [tensor_name(graph.tensors[operator.outputs[0]]) for operator in graph.operators]
    telling = [
        name if "/" in name else _weight_name(model, operator)
        for name, operator in zip(names, graph.operators, strict=True)
    ]
    layers = layers_of_tensors(telling)
    return [
        FileNode(name.split(";")[0], op, layer)
        for name, op, layer in zip(names, op_names(model)[0], layers, strict=True)
    ]


def _weight_name(model: Any, operator: Any) -> str:
    """Name of an operator's weights: the file's output is called after no layer."""
    tensors = model.subgraphs[0].tensors
    used = [tensors[index] for index in operator.inputs if index >= 0]
    names = [tensor_name(tensor) for tensor in used if is_constant(model, tensor)]
    # An output's own name, such as "StatefulPartitionedCall:0", may be in front of its weights'.
    return next((name for name in names if ":" not in name.partition("/")[0] and "/" in name), "")


def name_kernels(
    kernels: Sequence[KernelTime], nodes: Sequence[FileNode], parts: Sequence[Sequence[int]]
) -> tuple[NodeTime, ...]:
    """Kernel times with the operators and layers that they belong to.

    Args:
        kernels: in the order in which they ran.
        nodes: of the file.
        parts: places in ``nodes`` of each part that XNNPACK runs, in the order in which they run.

    Returns:
        One entry a kernel. A kernel of XNNPACK in a part that is not among ``parts`` keeps its own
        name, and no layer.
    """
    found: list[NodeTime] = []
    runs = _split(kernels)
    # Taken in turn: parts of equal kernels and equal times, in whole microseconds, are no rarity.
    known = sum(run[0].delegated for run in runs) == len(parts)
    following = iter(parts)
    for run in runs:
        if not run[0].delegated:
            (kernel,) = run
            node = nodes[kernel.index]
            found.append(NodeTime(node.name, node.op, kernel.name, node.layer, kernel.time_us))
            continue
        members = list(next(following)) if known else []
        places = assign_kernels(
            [kernel.name for kernel in run], [nodes[place].op for place in members]
        )
        for kernel, place in zip(run, places, strict=True):
            if place is None:
                found.append(NodeTime(kernel.name, kernel.name, kernel.name, "", kernel.time_us))
                continue
            node = nodes[members[place]]
            found.append(NodeTime(node.name, node.op, kernel.name, node.layer, kernel.time_us))
    return tuple(found)


def _split(kernels: Sequence[KernelTime]) -> list[list[KernelTime]]:
    """LiteRT's own kernels one by one, XNNPACK's in runs: one for each part of the graph."""
    runs: list[list[KernelTime]] = []
    for kernel in kernels:
        goes_on = kernel.delegated and kernel.index > 0 and runs and runs[-1][0].delegated
        if goes_on:
            runs[-1].append(kernel)
        else:
            runs.append([kernel])
    return runs
