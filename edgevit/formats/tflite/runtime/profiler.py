"""Times of every operator that LiteRT runs, through the C API of its shared library.

The Python package has no call for it, but the library beside it does: a compiled model with
``enable_profiling`` keeps an event for each operator, those inside the XNNPACK delegate included.
The calls run in a process of their own, so that a library with another binary interface can end
that process and nothing else. Resolution: one microsecond, rounded down.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import MissingDependencyError, RuntimeFailure
from edgevit.formats.recording import Recording, take_turns

OPERATOR, DELEGATED = 2, 8  # event types of tflite::Profiler that name one operator
EVENT_TYPES = {1 << bit for bit in range(10)}
EVENT_SIZES = (104, 88, 72, 120)  # bytes of an event; versions differ in their memory counters
ELEMENT_TYPES = {1: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
TIME_LIMIT_S = 600
_HEADER = np.dtype(
    [("tag", "u8"), ("type", "i4"), ("pad", "i4"), ("start_us", "u8"), ("elapsed_us", "u8")]
)


@dataclass(frozen=True)
class KernelTime:
    """One kernel of one pass through the graph.

    Attributes:
        name: what LiteRT calls it: the operator, or XNNPACK's own kernel.
        delegated: whether XNNPACK ran it.
        index: of the operator in the file; for XNNPACK's kernels their place within their part.
        time_us: one entry a run.
    """

    name: str
    delegated: bool
    index: int
    time_us: tuple[int, ...]


def record_litert(
    path: Path, kernels: str = "xnnpack", threads: int = 1, runs: int = 50, warmup: int = 10
) -> Recording[KernelTime]:
    """Runs a .tflite file with and without LiteRT's profiler, in a process of its own.

    Args:
        path: the file.
        kernels: "xnnpack", "builtin" or "reference".
        threads: for the kernels.
        runs: recorded runs of each kind.
        warmup: runs of each kind before the first recorded one.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        RuntimeFailure: LiteRT refuses the file, or its library cannot be called.
    """
    command = [sys.executable, "-m", __name__, str(path), kernels, str(threads)]
    command += [str(runs), str(warmup)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise RuntimeFailure(
            f"{path}: LiteRT's profiler did not end within {TIME_LIMIT_S} s. Ask for fewer --runs."
        ) from None
    lines = found.stdout.splitlines()
    document = json.loads(lines[-1]) if found.returncode == 0 and lines else {}
    if "missing" in document:
        raise MissingDependencyError("ai_edge_litert", "litert", "Profiling a .tflite file")
    if "kernels" not in document:
        reason = document.get("error") or _last_line(found.stderr) or f"exit {found.returncode}"
        raise RuntimeFailure(f"{path}: LiteRT cannot profile it ({reason}).")
    return Recording(
        rows=tuple(
            KernelTime(name, delegated, index, tuple(times))
            for name, delegated, index, times in document["kernels"]
        ),
        profiled_us=tuple(document["profiled_us"]),
        plain_us=tuple(document["plain_us"]),
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


class _RankedTensorType(ctypes.Structure):
    _fields_ = (
        ("element_type", ctypes.c_int),
        ("rank_and_flag", ctypes.c_uint32),  # rank in the low 7 bits
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


class CallError(Exception):
    """A call of the C API that did not return 0."""


class Library:
    """LiteRT's C API; every call is checked.

    Args:
        path: of libLiteRt.so.
    """

    def __init__(self, path: Path):
        self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise CallError(f"its library has no {name}; it is of an unknown version") from None
        status = function(*arguments)
        if status != 0:
            raise CallError(f"{name} returned {status}")

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Calls a function whose last argument receives a handle."""
        handle = ctypes.c_void_p()
        self(name, *arguments, ctypes.byref(handle))
        return handle


class CompiledModel:
    """One .tflite file, compiled for the CPU, with its input and output buffers.

    Args:
        library: the C API.
        path: the file.
        kernels: "xnnpack", "builtin" or "reference".
        threads: for the kernels.
        profiling: whether it may be profiled; that alone costs time.
    """

    def __init__(self, library: Library, path: Path, kernels: str, threads: int, profiling: bool):
        self._call = library
        self._kept: list[Any] = []  # what the library points into must live as long as it does
        environment = library.make("LiteRtCreateEnvironment", 0, None)
        model = library.make("LiteRtCreateModelFromFile", environment, str(path).encode())
        options = library.make("LiteRtCreateOptions")
        library("LiteRtSetOptionsHardwareAccelerators", options, 1)  # the CPU
        self._add_options(options, "xnnpack", f'kernel_mode = "{kernels}"\nnum_threads = {threads}')
        if profiling:
            self._add_options(options, "runtime_options_string", "enable_profiling = true")
        self._model = library.make("LiteRtCreateCompiledModel", environment, model, options)
        signature = library.make("LiteRtGetModelSignature", model, ctypes.c_size_t(0))
        self._inputs = self._make_buffers("Input", signature, environment)
        self._outputs = self._make_buffers("Output", signature, environment)
        self._profiler = (
            library.make("LiteRtCompiledModelGetProfiler", self._model) if profiling else None
        )

    def _add_options(self, options: ctypes.c_void_p, name: str, text: str) -> None:
        keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda address: None)
        content = ctypes.create_string_buffer(text.encode() + b"\n")
        self._kept += [keep, content]
        address = ctypes.cast(content, ctypes.c_void_p)
        opaque = self._call.make("LiteRtCreateOpaqueOptions", name.encode(), address, keep)
        self._call("LiteRtAddOpaqueOptions", options, opaque)

    def _make_buffers(self, side: str, signature: Any, environment: Any) -> Any:
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
        buffers = []
        rng = np.random.default_rng(0)
        for number in range(count.value):
            place = ctypes.c_size_t(number)
            tensor = self._call.make(f"LiteRtGetSignature{side}TensorByIndex", signature, place)
            kind = _RankedTensorType()
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            kind = self._settle(kind, side, place)
            needs = self._call.make(
                f"LiteRtGetCompiledModel{side}BufferRequirements",
                self._model,
                ctypes.c_size_t(0),
                place,
            )
            buffer = self._call.make(
                "LiteRtCreateManagedTensorBufferFromRequirements",
                environment,
                ctypes.byref(kind),
                needs,
            )
            if side == "Input":
                self._fill(buffer, kind, rng)
            buffers.append(buffer)
        return (ctypes.c_void_p * len(buffers))(*buffers)

    def _settle(self, kind: _RankedTensorType, side: str, place: Any) -> _RankedTensorType:
        """A free batch becomes 1, where the file leaves it open."""
        rank = kind.rank_and_flag & 127
        sizes = [kind.dimensions[number] for number in range(rank)]
        if min(sizes, default=1) >= 0:
            return kind
        if any(size < 0 for size in sizes[1:]):
            raise CallError("only the batch may be free; this file leaves other sizes open")
        kind.dimensions[0] = 1
        if side == "Input":
            self._call(
                "LiteRtCompiledModelResizeInputTensor",
                self._model,
                ctypes.c_size_t(0),
                place,
                kind.dimensions,
                ctypes.c_size_t(rank),
            )
        return kind

    def _fill(self, buffer: Any, kind: _RankedTensorType, rng: np.random.Generator) -> None:
        size = ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
        dtype = np.dtype(ELEMENT_TYPES.get(kind.element_type, "uint8"))
        count = size.value // dtype.itemsize
        if dtype.kind == "f":
            values = rng.random(count).astype(dtype)
        else:
            values = rng.integers(0, 100, count).astype(dtype)
        address = ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), 1)  # for writing
        ctypes.memmove(address, values.ctypes.data, values.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> float:
        """One inference, in microseconds."""
        started = time.perf_counter_ns()
        self._call(
            "LiteRtRunCompiledModel",
            self._model,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)),
            self._inputs,
            ctypes.c_size_t(len(self._outputs)),
            self._outputs,
        )
        return (time.perf_counter_ns() - started) / 1000

    def run_profiled(self) -> tuple[float, list[tuple[str, int, int, int]]]:
        """One inference: (microseconds, its events as (name, type, index, microseconds))."""
        self._call("LiteRtStartProfiler", self._profiler)
        elapsed = self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        space = (ctypes.c_ubyte * (max(EVENT_SIZES) * count.value))()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, space)
        return elapsed, read_events(bytes(space), count.value)


def read_events(data: bytes, count: int) -> list[tuple[str, int, int, int]]:
    """Events out of the profiler's array of structs.

    Their size differs between versions of the library, so the one is taken that makes every
    event's type one of those that exist.

    Args:
        data: the array.
        count: events in it.

    Returns:
        (name, type, index of the operator, microseconds) of each.

    Raises:
        CallError: no size fits.
    """
    for size in EVENT_SIZES:
        kinds = [
            int.from_bytes(data[start + 8 : start + 12], "little")
            for start in range(0, size * count, size)
        ]
        if all(kind in EVENT_TYPES for kind in kinds):
            break
    else:
        raise CallError("its profiler's events are of an unknown layout")
    events = []
    index_at = size - 24  # the operator's index, then the subgraph's, then the event's source
    for start in range(0, size * count, size):
        (header,) = np.frombuffer(data[start : start + _HEADER.itemsize], _HEADER)
        place = int.from_bytes(data[start + index_at : start + index_at + 8], "little")
        name = ctypes.string_at(int(header["tag"])).decode(errors="replace")
        events.append((name, int(header["type"]), place, int(header["elapsed_us"])))
    return events


def _record(path: Path, kernels: str, threads: int, runs: int, warmup: int) -> dict[str, Any]:
    import ai_edge_litert

    (folder,) = ai_edge_litert.__path__[:1]
    library = Library(Path(folder) / "libLiteRt.so")
    plain = CompiledModel(library, path, kernels, threads, profiling=False)
    profiled = CompiledModel(library, path, kernels, threads, profiling=True)
    plain_us, profiles = take_turns(plain.run, profiled.run_profiled, runs, warmup)
    found = [
        [event for event in events if event[1] in (OPERATOR, DELEGATED)] for _, events in profiles
    ]
    if any([event[:3] for event in run] != [event[:3] for event in found[0]] for run in found):
        raise CallError("its profiler reported other operators from one run to the next")
    rows = [
        [name, kind == DELEGATED, index, [run[number][3] for run in found]]
        for number, (name, kind, index, _) in enumerate(found[0])
    ]
    return {
        "kernels": rows,
        "profiled_us": [elapsed for elapsed, _ in profiles],
        "plain_us": plain_us,
    }


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("kernels")
    for name in ("threads", "runs", "warmup"):
        parser.add_argument(name, type=int)
    try:
        document = _record(**vars(parser.parse_args()))
    except ImportError:
        document = {"missing": True}
    except (CallError, OSError) as error:
        document = {"error": str(error)}
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    _main()
