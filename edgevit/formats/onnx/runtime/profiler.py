"""Times of every node that onnxruntime runs, after its own optimisation of the graph."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import MissingDependencyError, RuntimeFailure
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.recording import Recording
from edgevit.formats.session import load_failure

_SUFFIX = "_kernel_time"
_DTYPES = {"tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float16)": "float16"}


@dataclass(frozen=True)
class NodeRow:
    """One node of the graph that onnxruntime runs.

    Attributes:
        name: of the node; onnxruntime's own, where it made the node.
        op: operator, such as "MatMul" or "FusedMatMul".
        layer: of the Keras model; empty where it cannot be told.
        time_us: one entry a run.
    """

    name: str
    op: str
    layer: str
    time_us: tuple[int, ...]


def record_onnxruntime(
    path: Path, threads: int = 1, runs: int = 50, warmup: int = 10
) -> Recording[NodeRow]:
    """Runs an .onnx file with and without onnxruntime's profiler.

    Args:
        path: the file.
        threads: for operators.
        runs: recorded runs of each kind.
        warmup: runs of each kind before the first recorded one.

    Raises:
        MissingDependencyError: onnxruntime or onnx is not installed.
        RuntimeFailure: onnxruntime refuses the file.
    """
    with tempfile.TemporaryDirectory(prefix="edgevit-") as place:
        folder = Path(place)
        plain = _open(path, threads)
        profiled = _open(path, threads, profile=folder / "profile", optimized=folder / "graph.onnx")
        feeds = _draw_inputs(plain)
        plain_us: list[float] = []
        profiled_us: list[float] = []
        try:
            for number in range(warmup + runs):
                for session, times in ((plain, plain_us), (profiled, profiled_us)):
                    started = time.perf_counter_ns()
                    session.run(None, feeds)
                    if number >= warmup:
                        times.append((time.perf_counter_ns() - started) / 1000)
            events = json.loads(Path(profiled.end_profiling()).read_text())
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise RuntimeFailure(f"{path}: onnxruntime cannot run it ({error}).") from None
        layers = _layers(folder / "graph.onnx", path)
    return Recording(read_nodes(events, layers, runs), tuple(profiled_us), tuple(plain_us))


def read_nodes(events: list[dict], layers: dict[str, str], runs: int) -> tuple[NodeRow, ...]:
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
        NodeRow(name, op, layers.get(name) or layer_of_node(name), tuple(times[-runs:]))
        for (name, op), times in order.items()
    )


def optimized_ops(path: Path) -> dict[str, int]:
    """How often each operator occurs in the graph that onnxruntime runs.

    Raises:
        MissingDependencyError: onnxruntime or onnx is not installed.
        RuntimeFailure: onnxruntime refuses the file.
    """
    with tempfile.TemporaryDirectory(prefix="edgevit-") as place:
        target = Path(place) / "graph.onnx"
        _open(path, 1, optimized=target)
        counts: dict[str, int] = defaultdict(int)
        for node in _load(target).graph.node:
            counts[node.op_type] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _open(
    path: Path, threads: int, profile: Path | None = None, optimized: Path | None = None
) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError("onnxruntime", "onnx", "Running an .onnx file") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if optimized:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise load_failure(path, "onnxruntime", error) from None


def _draw_inputs(session: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in value.shape]
        dtype = np.dtype(_DTYPES.get(value.type, "float32"))
        drawn = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 100, shape)
        feeds[value.name] = np.asarray(drawn).astype(dtype)
    return feeds


def _load(path: Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError("onnx", "onnx", "Reading an .onnx file") from None
    return onnx.load(str(path), load_external_data=False)


def _layers(optimized: Path, original: Path) -> dict[str, str]:
    """The layer of every node of the optimised graph.

    A node keeps the name that it has in the file. One that onnxruntime made carries the name of
    the file's node within its own, or its output's; a layout change that says neither is counted
    with the layer that asks for it.
    """
    known = {node.name for node in _load(original).graph.node if node.name}
    nodes = list(_load(optimized).graph.node)
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
