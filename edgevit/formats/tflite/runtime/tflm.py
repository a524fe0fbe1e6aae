"""TFLite files in TensorFlow Lite Micro, the runtime of microcontrollers, on this machine.

Its reference kernels are plain C++ without threads or delegates. Working memory is one block, the
arena, whose size the file decides; :attr:`MicroSession.arena_bytes` says how much of it was used.
Where pointers have 32 bits, as on microcontrollers, the part that holds no tensors is smaller.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ModelFileError, RuntimeFailure, needed
from edgevit.core.tensors import TensorSpec
from edgevit.formats.session import BatchedSession, dequantize
from edgevit.formats.tflite.runtime.file import (
    custom_op_names,
    op_names,
    pack_model,
    parse_model,
    read_metadata,
    read_schema,
    signature_specs,
)
from edgevit.formats.tflite.runtime.nodes import list_nodes

ARENAS = (8 << 20, 64 << 20, 512 << 20)  # bytes; the first that is large enough is taken
SMALL = 1 << 20  # enough to learn which operators there are
PROBE = "EDGEVIT_PROBE"  # a custom operator that no runtime has
_ABSENT = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_TOO_SMALL = re.compile(r"resize buffer|allocate memory|too small|Requested:", re.IGNORECASE)
LAYERS_SHOWN = 3


class MicroSession(BatchedSession):
    """One .tflite file.

    Args:
        path: the file.
        kernels: "micro"; there is one set.
        threads: ignored: there is one.

    Attributes:
        arena_bytes: working memory that the file needs, tensors and bookkeeping.

    Raises:
        MissingDependencyError: tflite-micro is not installed.
        RuntimeFailure: it has no kernel for some operators, which are named with their layers, or
            refuses the file for another reason.
    """

    def __init__(self, path: Path, kernels: str = "micro", threads: int | None = None):
        self.path = path
        self.runtime = "tflm"
        data = path.read_bytes()
        model = parse_model(data, str(path))
        if not model.subgraphs:
            raise ModelFileError(f"{path}: the TFLite file is damaged (it holds no graph).")
        self._interpreter, said = _open(data, ARENAS)
        if self._interpreter is None:
            raise RuntimeFailure(_explain(path, model, said))
        self.inputs, self.outputs = _static_specs(model)
        self._results = [
            self._interpreter.get_output_details(place) for place in range(len(self.outputs))
        ]
        self.quantization = {}
        for place, spec in enumerate(self.inputs):
            details = self._interpreter.get_input_details(place)
            levels = _scale_and_zero(details["quantization_parameters"])
            if levels:
                self.quantization[spec.name] = levels
        self.metadata = read_metadata(path)
        self.arena_bytes = self._measure_arena()

    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.bind_batch(batch)()
        found = {}
        for place, (spec, detail) in enumerate(zip(self.outputs, self._results, strict=True)):
            value = np.array(self._interpreter.get_output(place))
            levels = _scale_and_zero(detail["quantization_parameters"]) or (0.0, 0)
            found[spec.name] = dequantize(value, *levels)
        return found

    def bind_batch(self, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        ordered = [batch[spec.name] for spec in self.inputs]

        def infer() -> None:
            try:
                # Anew each time: an input's place in the arena is used again within a run.
                for place, values in enumerate(ordered):
                    self._interpreter.set_input(values, place)
                self._interpreter.invoke()
            except (ValueError, RuntimeError) as error:
                raise RuntimeFailure(
                    f"{self.path}: TensorFlow Lite Micro cannot run it ({error})."
                ) from None

        return infer

    def close(self) -> None:
        self._interpreter = None

    def _measure_arena(self) -> int:
        with _stderr_kept() as said:
            self._interpreter.print_allocations()
        found = _TOTAL.search(said[0])
        if found is None:
            raise RuntimeFailure(
                f"{self.path}: this version of tflite-micro does not say how much memory it used."
            )
        return int(found[1])


def missing_ops(path: Path) -> dict[str, int]:
    """How often each operator occurs in a file that TensorFlow Lite Micro has no kernel for.

    Raises:
        MissingDependencyError: tflite-micro is not installed.
        ModelFileError: it is no TFLite file, or damaged.
    """
    return _missing(parse_model(path.read_bytes(), str(path)))


def _missing(model: Any) -> dict[str, int]:
    """Asks for one operator after the other.

    The interpreter looks all operators up before it prepares any, and stops at the first that it
    lacks. So a graph of one operator of each kind, and one at its end that nobody has, is never
    prepared; the message names the first that is missing.
    """
    schema = read_schema()
    probe = copy(model)
    probe.buffers = [schema.BufferT() for _ in model.buffers]
    probe.metadata, probe.signatureDefs = None, None
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = min(127, code.builtinCode)
    code.customCode = PROBE
    probe.operatorCodes = [*model.operatorCodes, code]
    last = schema.OperatorT()
    last.opcodeIndex, last.inputs, last.outputs = len(model.operatorCodes), [], []
    graph = copy(model.subgraphs[0])
    probe.subgraphs = [graph]
    names = op_names(model)[0]
    counts = Counter(names)
    custom = set(custom_op_names(model))
    found = {name: counts[name] for name in custom}
    waiting = {
        name: operator
        for name, operator in zip(names, graph.operators, strict=True)
        if name not in custom
    }
    while True:
        graph.operators = [*waiting.values(), last]
        _, said = _open(pack_model(probe), (SMALL, ARENAS[-1]))
        absent = _ABSENT.search(said)
        if absent is None or absent[1] not in waiting:
            break
        found[absent[1]] = counts[absent[1]]
        del waiting[absent[1]]
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _explain(path: Path, model: Any, said: str) -> str:
    """One line about why a file does not run."""
    absent, nodes = _missing(model), list_nodes(model)
    if not absent:
        reason = " ".join(line.strip() for line in said.splitlines() if line.strip())
        return f"{path}: TensorFlow Lite Micro refuses it ({reason[:300] or 'no reason given'})."
    listed = []
    for op, count in absent.items():
        layers = list(dict.fromkeys(node.layer for node in nodes if node.op == op and node.layer))
        where = ", ".join(layers[:LAYERS_SHOWN]) + (" ..." if len(layers) > LAYERS_SHOWN else "")
        listed.append(f"{count} {op}" + (f" (layer {where})" if where else ""))
    remedy = ""
    if "GELU" in absent:
        remedy = " 'edgevit export MODEL --format tflite-int8-micro' writes it as a table."
    return (
        f"{path}: TensorFlow Lite Micro has no kernel for {'; '.join(listed)}, so no "
        f"microcontroller runs the file.{remedy}"
    )


def _open(data: bytes, arenas: tuple[int, ...]) -> tuple[Any, str]:
    """(interpreter, or None where it refuses; what it printed)."""
    with needed("tflite_micro", "tflm", "The runtime tflm"):
        from tflite_micro.python.tflite_micro import runtime
    for arena in arenas:
        with _stderr_kept() as said:
            try:
                return runtime.Interpreter.from_bytes(data, arena_size=arena), ""
            except (RuntimeError, ValueError):
                pass  # the reason is what it printed
        if not _TOO_SMALL.search(said[0]):
            break
    return None, said[0]


@contextlib.contextmanager
def _stderr_kept() -> Iterator[list[str]]:
    """Collects what C++ writes to file descriptor 2; the list holds it when the context ends."""
    said: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            log.seek(0)
            said.append(log.read().decode(errors="replace"))


def _static_specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """(inputs, outputs) with the names of the signature and the sizes that are in the file.

    A free batch is one here: there is no resizing.
    """
    inputs, outputs = (
        tuple(replace(spec, shape=tuple(size or 1 for size in spec.shape)) for spec in specs)
        for specs in signature_specs(model)
    )
    return inputs, outputs


def _scale_and_zero(parameters: dict[str, Any]) -> tuple[float, int] | None:
    """Of a whole tensor; None for one that is not quantised."""
    scales, zeros = parameters["scales"], parameters["zero_points"]
    if len(scales) == 0 or not scales[0]:
        return None
    return float(scales[0]), int(zeros[0])
