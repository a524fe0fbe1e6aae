"""Times of every node that onnxruntime runs, after its own optimisation of the graph."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import RuntimeFailure
from edgevit.base.workspace import open_workspace
from edgevit.core.inspection import count_by_name
from edgevit.core.parity import NodeTime
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.onnx.runtime.file import read_model
from edgevit.formats.onnx.runtime.onnxruntime import load_model, spec_of
from edgevit.formats.recording import Recording, take_turns

_SUFFIX = "_kernel_time"


def profile_onnx(
    path: Path, kernels: str, threads: int, runs: int, warmup: int
) -> Recording[NodeTime]:
    """Runs an .onnx file with and without onnxruntime's profiler.

    Args:
        path: the file.
        kernels: "cpu"; there is one set.
        threads: for operators.
        runs: recorded runs of each kind.
        warmup: runs of each kind before the first recorded one.

    Raises:
        MissingDependencyError: onnxruntime or onnx is not installed.
        RuntimeFailure: onnxruntime refuses the file.
    """
    with open_workspace() as place:
        prefix, optimized = place / "profile", place / "graph.onnx"
        plain = load_model(path, str(path), threads)
        profiled = load_model(path, str(path), threads, profile=prefix, optimized=optimized)
        feeds = _draw_inputs(plain)

        def timed(session: Any) -> float:
            started = time.perf_counter_ns()
            session.run(None, feeds)
            return (time.perf_counter_ns() - started) / 1000

        try:
            plain_us, profiled_us = take_turns(
                partial(timed, plain), partial(timed, profiled), runs, warmup
            )
            events = json.loads(Path(profiled.end_profiling()).read_text())
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise RuntimeFailure(f"{path}: onnxruntime cannot run it ({error}).") from None
        layers = _layers(optimized, path)
    return Recording(read_nodes(events, layers, runs), tuple(profiled_us), tuple(plain_us))


def read_nodes(events: list[dict], layers: dict[str, str], runs: int) -> tuple[NodeTime, ...]:
    """The last runs' nodes out of a profile.

    Args:
        events: the profile's JSON.
        layers: layer of each node, by its name.
        runs: how many of the last ones to keep.
    """
    order: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            name = event["name"][: -len(_SUFFIX)]
            order[(name, event["args"]["op_name"])].append(int(event["dur"]))
    return tuple(
        NodeTime(name, op, op, layers.get(name) or layer_of_node(name), tuple(times[-runs:]))
        for (name, op), times in order.items()
    )


def optimized_ops(path: Path) -> dict[str, int]:
    """How often each operator occurs in the graph that onnxruntime runs.

    Raises:
        MissingDependencyError: onnxruntime or onnx is not installed.
        RuntimeFailure: onnxruntime refuses the file.
    """
    with open_workspace() as place:
        target = place / "graph.onnx"
        load_model(path, str(path), optimized=target)
        return count_by_name(node.op_type for node in read_model(target).graph.node)


def _draw_inputs(session: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for spec in map(spec_of, session.get_inputs()):
        shape, dtype = [size or 1 for size in spec.shape], np.dtype(spec.dtype)
        drawn = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 100, shape)
        feeds[spec.name] = drawn.astype(dtype)
    return feeds


def _layers(optimized: Path, original: Path) -> dict[str, str]:
    """The layer of every node of the optimised graph.

    A node keeps the name that it has in the file. One that onnxruntime made carries the name of
    the file's node within its own, or its output's; a layout change that says neither is counted
    with the layer that asks for it.
    """
    known = {node.name for node in read_model(original).graph.node if node.name}
    nodes = list(read_model(optimized).graph.node)
    found: dict[str, str] = {}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for name in (node.name, *node.output):
            origin = _origin(name, known)
            if origin and layer_of_node(origin):
                found[node.name] = layer_of_node(origin)
                break
        for name in node.input:
            readers[name].append(node.name)
    for node in reversed(nodes):
        if node.name not in found:
            asking = [found[name] for out in node.output for name in readers[out] if name in found]
            if asking:
                found[node.name] = asking[0]
    return found


def _origin(name: str, known: set[str]) -> str:
    """The file's node whose name this name begins with."""
    text = name.partition(":")[0]
    while text:
        if text in known:
            return text
        text = text.rpartition("/")[0]
    return ""
