"""Profiles of exported files: the time of each operator and of each Keras layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.files import digest_path
from edgevit.base.loading import load_attribute
from edgevit.bench.environment import describe_environment
from edgevit.core.format import Format
from edgevit.core.parity import NodeTime, Profile
from edgevit.formats.recording import Recording
from edgevit.formats.registry import (
    FORMATS,
    RUNTIMES,
    check_sound,
    choose_runtime,
    detect_format,
    runtimes_of,
)
from edgevit.formats.tflite.operators import Role, names_of

TRIM = 0.1  # share of the slowest and of the fastest runs that does not count
NO_LAYER = "(no layer)"
# Operators that multiply matrices, as the two formats and onnxruntime's fusions call them.
MATRIX_OPS = (
    *("Conv", "ConvInteger", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"),
    *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"),
    *("QLinearConv", "QLinearMatMul"),
    *names_of(Role.MULTIPLIES),
)


@dataclass(frozen=True)
class ProfileRow:
    """One line of a profile.

    Attributes:
        name: of the group.
        time_us: microseconds a run: the mean over the middle runs, summed over the group.
        share: of the time of all operators, in [0, 1].
        cumulated: share of this and all rows before it.
        count: kernels in the group.
        ops: operators in it, those that take most first.
    """

    name: str
    time_us: float
    share: float
    cumulated: float
    count: int
    ops: tuple[str, ...]


def fold_layer(layer: str, depth: int | None) -> str:
    """The first parts of a layer's path; all of them without a depth."""
    parts = layer.split("/") if depth is None else layer.split("/")[:depth]
    return "/".join(parts) or NO_LAYER


GROUPS: dict[str, Callable[[NodeTime, int | None], str]] = {
    "op": lambda node, depth: node.op,
    "layer": lambda node, depth: fold_layer(node.layer, depth),
    "node": lambda node, depth: node.node,
    "kernel": lambda node, depth: node.kernel,
}


def profile(
    path: str | Path,
    kernels: str | None = None,
    threads: int = 1,
    runs: int = 50,
    warmup: int = 10,
) -> Profile:
    """Runs an exported file under its runtime's own profiler.

    Args:
        path: a .tflite or .onnx file.
        kernels: a kernel set of the runtime, such as "reference", with the runtime's name before
            it ("litert-reference") or without; None is what devices run.
        threads: for the kernels.
        runs: recorded runs, with the profiler and without, in turns.
        warmup: runs of each kind before.

    Raises:
        ConfigError: a SavedModel, or a kernel set that the format has not.
        ModelFileError: no such file, of no known kind, or changed since it was exported.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    path = Path(path)
    kind = detect_format(path)
    record = FORMATS[kind].profile
    if record is None:
        raise ConfigError(
            f"{path}: TensorFlow tells no times of single operators here. Profile the .tflite or "
            ".onnx file of the same model."
        )
    chosen = choose_kernels(kind, kernels)
    check_sound(path, choose_runtime(path))
    found: Recording[NodeTime] = load_attribute(record)(path, chosen, threads, runs, warmup)
    return Profile(
        file=path.name,
        sha256=digest_path(path),
        runtime=f"{runtimes_of(kind)[0]}-{chosen}",
        threads=threads,
        nodes=found.rows,
        profiled_us=found.profiled_us,
        plain_us=found.plain_us,
        environment=record_environment(),
    )


def choose_kernels(kind: Format, name: str | None) -> str:
    """The kernel set of this name, with the runtime's name before it or without.

    Raises:
        ConfigError: the format's runtime has no such set.
    """
    rows = [row for row in RUNTIMES.values() if row.format is kind and row.device == "cpu"]
    sets = {row.kernels: row for row in rows if row.session == rows[0].session}
    if name is None:
        return rows[0].kernels
    for kernels, row in sets.items():
        if name in (row.name, kernels, f"{rows[0].name}-{kernels}"):
            return kernels
    raise ConfigError(f"{kind} has the kernel sets {', '.join(sets)}. Received: {name!r}")


def record_environment() -> dict[str, Any]:
    """The machine and the tools, as plain values."""
    return asdict(describe_environment())


def typical_us(times: tuple[float, ...] | tuple[int, ...]) -> float:
    """Mean over the middle runs: single runs count whole microseconds, and some are disturbed."""
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    cut = int(TRIM * len(ordered))
    return float(ordered[cut : len(ordered) - cut].mean()) if len(ordered) else 0.0


def group_rows(found: Profile, by: str = "op", depth: int | None = None) -> list[ProfileRow]:
    """A profile summed over groups, the slowest first.

    Args:
        found: the profile.
        by: one of GROUPS.
        depth: for layers, how many parts of the path to keep; None: all.
    """
    key = GROUPS[by]
    groups: dict[str, list[NodeTime]] = {}
    for node in found.nodes:
        groups.setdefault(key(node, depth), []).append(node)
    totals = {
        name: sum(typical_us(node.time_us) for node in group) for name, group in groups.items()
    }
    whole = sum(totals.values()) or 1.0
    rows, cumulated = [], 0.0
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        cumulated += totals[name] / whole
        rows.append(
            ProfileRow(
                name=name,
                time_us=totals[name],
                share=totals[name] / whole,
                cumulated=cumulated,
                count=len(groups[name]),
                ops=_rank_ops(groups[name]),
            )
        )
    return rows


def _rank_ops(nodes: list[NodeTime]) -> tuple[str, ...]:
    totals: dict[str, float] = {}
    for node in nodes:
        totals[node.op] = totals.get(node.op, 0.0) + typical_us(node.time_us)
    return tuple(sorted(totals, key=lambda op: (-totals[op], op)))


def matrix_share(found: Profile) -> float:
    """Share in [0, 1] of the operators' time that is spent in matrix products and convolutions."""
    times = [(node.op, typical_us(node.time_us)) for node in found.nodes]
    whole = sum(time for _, time in times)
    return sum(time for op, time in times if op in MATRIX_OPS) / whole if whole else float("nan")
