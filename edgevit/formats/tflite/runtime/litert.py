"""TFLite files in LiteRT (ai-edge-litert), with XNNPACK or with the reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import RuntimeFailure, needed
from edgevit.core.tensors import TensorSpec
from edgevit.formats.session import BatchedSession, dequantize, load_failure
from edgevit.formats.tflite.runtime.file import read_metadata

KERNELS = ("xnnpack", "builtin", "reference")


class LiteRTSession(BatchedSession):
    """One .tflite file.

    Args:
        path: the file.
        kernels: "xnnpack" (what devices run), "builtin" (LiteRT's optimised kernels without the
            delegate) or "reference" (the plain C++ kernels that define the results).
        threads: for the kernels; None: one.
        preserve_all: keep what is between the operators readable after a run.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        RuntimeFailure: LiteRT refuses the file.
    """

    def __init__(
        self,
        path: Path,
        kernels: str = "xnnpack",
        threads: int | None = None,
        preserve_all: bool = False,
    ):
        self.path = path
        self.runtime = f"litert-{kernels}"
        try:
            self._interpreter = open_interpreter(path, kernels, threads or 1, preserve_all)
            self._interpreter.allocate_tensors()
            self.metadata = read_metadata(path)
            self._describe()
        except (ValueError, RuntimeError) as error:
            raise load_failure(path, "LiteRT", error) from None

    def _describe(self) -> None:
        sources = self._interpreter.get_input_details()
        self._results = self._interpreter.get_output_details()
        names = border_names(self._interpreter)
        self.inputs = tuple(_spec(detail, names) for detail in sources)
        self.outputs = tuple(_spec(detail, names) for detail in self._results)
        self._sources = {
            spec.name: detail["index"] for spec, detail in zip(self.inputs, sources, strict=True)
        }
        self.quantization = {
            spec.name: detail["quantization"]
            for spec, detail in zip(self.inputs, sources, strict=True)
            if detail["quantization"][0]
        }
        self._sizes = {
            spec.name: tuple(detail["shape"])
            for spec, detail in zip(self.inputs, sources, strict=True)
        }

    def run_chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.bind_batch(batch)()
        found = {}
        for spec, detail in zip(self.outputs, self._results, strict=True):
            value = self._interpreter.get_tensor(detail["index"])
            found[spec.name] = dequantize(value, *detail["quantization"])
        return found

    def bind_batch(self, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        try:
            sizes = {name: values.shape for name, values in batch.items()}
            if sizes != self._sizes:
                for name, shape in sizes.items():
                    self._interpreter.resize_tensor_input(self._sources[name], shape)
                self._interpreter.allocate_tensors()
                self._sizes = sizes
            for name, values in batch.items():
                self._interpreter.set_tensor(self._sources[name], values)
        except (ValueError, RuntimeError) as error:
            raise self._failure(error) from None
        return self._invoke

    def _invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> RuntimeFailure:
        return RuntimeFailure(f"{self.path}: LiteRT cannot run it ({error}).")

    def close(self) -> None:
        self._interpreter = None


def open_interpreter(
    path: Path, kernels: str = "xnnpack", threads: int = 1, preserve_all: bool = False
) -> Any:
    """A bare LiteRT interpreter.

    Args:
        path: the file.
        kernels: one of KERNELS.
        threads: for the kernels.
        preserve_all: keep every intermediate tensor readable after a run.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        ValueError: LiteRT refuses the file.
    """
    with needed("ai_edge_litert", "litert", "Running a .tflite file"):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    resolver = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }[kernels]
    return Interpreter(
        str(path),
        num_threads=threads,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=preserve_all,
    )


def count_partitions(path: Path) -> dict[str, int]:
    """How XNNPACK cuts the graph.

    Returns:
        "delegated": parts that XNNPACK runs; "left": operators that LiteRT's own kernels run.

    Raises:
        RuntimeFailure: LiteRT refuses the file.
    """
    parts, operators = _cut(path)
    return {"delegated": len(parts), "left": operators - sum(len(part) for part in parts)}


def list_partitions(path: Path) -> list[list[int]]:
    """The parts of the graph that XNNPACK runs, in the order in which they run.

    Returns:
        For each part the places of its operators in the file.

    Raises:
        RuntimeFailure: LiteRT refuses the file.
    """
    return _cut(path)[0]


def _cut(path: Path) -> tuple[list[list[int]], int]:
    """(operators inside each delegated part, operators in all).

    LiteRT lists the original operators first and the delegates after them. An operator is inside a
    part when walking back from the part's outputs to its inputs passes it.
    """
    try:
        interpreter = open_interpreter(path)
        interpreter.allocate_tensors()
        operators = interpreter._get_ops_details()
    except (ValueError, RuntimeError) as error:
        raise load_failure(path, "LiteRT", error) from None
    originals = [op for op in operators if op["op_name"] != "DELEGATE"]
    producer = {int(out): n for n, op in enumerate(originals) for out in op["outputs"]}
    seen: set[int] = set()
    parts = []
    for part in (op for op in operators if op["op_name"] == "DELEGATE"):
        borders = {int(index) for index in part["inputs"]}
        queue = [int(index) for index in part["outputs"]]
        inside = []
        while queue:
            tensor = queue.pop()
            number = producer.get(tensor)
            if tensor in borders or number is None or number in seen:
                continue
            seen.add(number)
            inside.append(number)
            queue.extend(int(index) for index in originals[number]["inputs"])
        parts.append(sorted(inside))
    return parts, len(originals)


def border_names(interpreter: Any) -> dict[int, str]:
    """Names of inputs and outputs as the file's first signature calls them, by tensor."""
    signatures = interpreter.get_signature_list()
    if not signatures:
        return {}
    runner = interpreter.get_signature_runner(next(iter(signatures)))
    sides = (runner.get_input_details(), runner.get_output_details())
    return {detail["index"]: name for side in sides for name, detail in side.items()}


def _spec(detail: dict, names: dict[int, str]) -> TensorSpec:
    name = names.get(detail["index"], detail["name"])
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return TensorSpec(name, shape, np.dtype(detail["dtype"]).name)
