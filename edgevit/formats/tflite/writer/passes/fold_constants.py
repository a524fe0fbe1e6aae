"""Operators that compute from stored values alone, as what they compute.

TensorFlow's converter folds most of them and leaves some, such as the masks of shifted windows that
Swin assembles slice by slice in int32: a chain of which no quantiser knows a scale. LiteRT runs the
chain once, and its end is stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.base.workspace import open_workspace
from edgevit.formats.passes import PassReport
from edgevit.formats.tflite.runtime.litert import open_interpreter
from edgevit.formats.tflite.writer.graph import TfliteGraph

NAME = "fold-constants"
# What draws, keeps a state, or expands weights that are stored in fewer bytes.
LEFT = ("BERNOULLI", "CALL", "CUSTOM", "DENSIFY", "DEQUANTIZE", "MULTINOMIAL", "RANDOM", "VAR_")
LARGEST = 16 * 2**20  # bytes of a result; a larger one is computed where it is needed
STORED = ("bool", "float32", "int32", "int64", "int8", "uint8", "int16")


def fold_constants(graph: TfliteGraph) -> PassReport:
    """Stores what does not depend on the inputs; counts operators.

    Args:
        graph: float32; changed in place.
    """
    found, results = _find_constant(graph)
    ends = [index for index in results if _leaves(graph, index, found)]
    if not ends:
        return PassReport(NAME, 0)
    for index, values in zip(ends, _compute(graph, found, ends), strict=True):
        graph.store(index, values)
    graph.operators = [op for op in graph.operators if id(op) not in found]
    graph.prune()
    return PassReport(NAME, len(found))


def _find_constant(graph: TfliteGraph) -> tuple[set[int], list[int]]:
    """(ids of the operators that depend on no input, the tensors that they compute)."""
    found: set[int] = set()
    results: dict[int, None] = {}
    for operator in graph.operators:
        entering = [int(index) for index in operator.inputs if index >= 0]
        outputs = [int(index) for index in operator.outputs]
        known = entering and all(graph.is_constant(i) or i in results for i in entering)
        foldable = known and not graph.kind(operator).startswith(LEFT)
        if foldable and all(_is_storable(graph, index) for index in outputs):
            found.add(id(operator))
            results.update(dict.fromkeys(outputs))
    return found, list(results)


def _is_storable(graph: TfliteGraph, tensor: int) -> bool:
    """Whether a computed tensor may be stored: an output of the file has to be computed."""
    if graph.is_output(tensor) or graph.is_free(tensor) or graph.type(tensor) not in STORED:
        return False
    return int(np.prod(graph.shape(tensor))) * np.dtype(graph.type(tensor)).itemsize <= LARGEST


def _leaves(graph: TfliteGraph, tensor: int, found: set[int]) -> bool:
    """Whether an operator that stays reads it."""
    return any(id(operator) not in found for operator, _ in graph.readers(tensor))


def _compute(graph: TfliteGraph, found: set[int], ends: list[int]) -> list[Any]:
    """Values of tensors that depend on no input."""
    wanted = [id(operator) in found for operator in graph.operators]
    part = graph.copy()
    part.operators = [op for op, own in zip(part.operators, wanted, strict=True) if own]
    part.graph.inputs, part.graph.outputs = np.array([], np.int32), np.array(ends, np.int32)
    part.model.signatureDefs = []
    part.prune()
    with open_workspace() as folder:
        path = folder / "constants.tflite"
        path.write_bytes(part.to_bytes())
        interpreter = open_interpreter(path, "builtin")
        interpreter.allocate_tensors()
        interpreter.invoke()
        return [
            interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()
        ]
