"""LiteRT's kernel times put to the operators of a .tflite file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevit.core.parity import NodeTime
from edgevit.formats.recording import Recording
from edgevit.formats.tflite.runtime.litert import list_partitions
from edgevit.formats.tflite.runtime.nodes import FileNode, read_nodes
from edgevit.formats.tflite.runtime.profiler import KernelTime, record_litert
from edgevit.formats.tflite.runtime.xnnpack_kernels import assign_kernels


def profile_tflite(
    path: Path, kernels: str, threads: int, runs: int, warmup: int
) -> Recording[NodeTime]:
    """As :func:`edgevit.formats.tflite.runtime.profiler.record_litert`, by operator and layer.

    Raises:
        ModelFileError: it is no TFLite file, or damaged.
    """
    nodes = read_nodes(path)
    found = record_litert(path, kernels, threads, runs, warmup)
    parts = list_partitions(path) if kernels == "xnnpack" else []
    rows = name_kernels(found.rows, nodes, parts)
    return Recording(rows, found.profiled_us, found.plain_us)


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
