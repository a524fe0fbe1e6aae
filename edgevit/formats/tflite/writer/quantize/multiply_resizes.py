"""Bilinear resizes of fixed size as two products, for accelerators that only double.

Arm's Ethos-U resizes by 2, 4 and 8. A resize to any other fixed size is linear in the picture: a
product along the rows and one along the columns. Weights of one place are integers with an exact
sum, found by trying denominators, so that an even area stays even; both products round, the kernel
of LiteRT once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where

LARGEST = 127  # of a symmetric int8 weight


def multiply_resizes(graph: TfliteGraph) -> int:
    """Writes each int8 RESIZE_BILINEAR as two FULLY_CONNECTED.

    Args:
        graph: integer-only; changed in place.

    Returns:
        How many there were.
    """
    return replace_where(
        graph, lambda resize: _Writer(graph, resize).write() if _is_fixed(graph, resize) else None
    )


def resize_weights(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights of a bilinear resize along one side, with pixels' centres at halves.

    Args:
        old: places before.
        new: places after.

    Returns:
        int8 new old; float64 new: the scale of each row. A row sums to 1 exactly.
    """
    places = (np.arange(new) + 0.5) * old / new - 0.5
    lower = np.floor(places)
    share = places - lower
    matrix = np.zeros((new, old))
    for at, weight in ((lower, 1 - share), (lower + 1, share)):
        matrix[np.arange(new), np.clip(at, 0, old - 1).astype(int)] += weight
    rows = [_as_integers(row) for row in matrix]
    return np.stack([row for row, _ in rows]), np.array([scale for _, scale in rows])


def _as_integers(row: np.ndarray) -> tuple[np.ndarray, float]:
    """(int8 weights, scale): one or two shares of 1, as near as integers come."""
    high = int(np.argmax(row))
    found = []
    for terms in range(LARGEST, int(LARGEST / row[high]) + 1):
        weights = np.rint(row * terms)
        weights[high] += terms - weights.sum()
        if weights[high] <= LARGEST:
            found.append((float(np.abs(weights / terms - row).max()), -terms, weights))
    _, terms, weights = min(found, key=lambda one: one[:2])
    return weights.astype(np.int8), -1 / terms


def _is_fixed(graph: TfliteGraph, operator: Any) -> bool:
    if graph.kind(operator) != "RESIZE_BILINEAR":
        return False
    x, y = int(operator.inputs[0]), int(operator.outputs[0])
    options = operator.builtinOptions
    centred = options.halfPixelCenters and not options.alignCorners
    alike = (graph.scales(x), graph.type(x)) == (graph.scales(y), graph.type(y))
    fixed = not (graph.is_free(x) or graph.is_free(y)) and graph.shape(x)[0] == 1
    return bool(centred and alike and fixed and graph.type(x) == "int8")


class _Writer:
    """What takes the place of a resize. Pictures are matrices here: rows, columns x channels."""

    def __init__(self, graph: TfliteGraph, operator: Any):
        self.graph = graph
        self.x, self.y = int(operator.inputs[0]), int(operator.outputs[0])
        self.made: list[Any] = []

    def write(self) -> list[Any]:
        """The operators, in order."""
        graph = self.graph
        _, old_rows, old_columns, depth = graph.shape(self.x)
        _, rows, columns, _ = graph.shape(self.y)
        x = self._matrix("picture", (old_rows, old_columns * depth))
        self.made.append(graph.make_reshape(self.x, x, self.y))
        if rows != old_rows:
            x = self._turn(self._product(self._turn(x), *resize_weights(old_rows, rows)))
        if columns != old_columns:
            weights, scales = resize_weights(old_columns, columns)
            each = np.kron(weights, np.eye(depth, dtype=np.int8))
            x = self._product(x, each, np.repeat(scales, depth))
        self.made.append(graph.make_reshape(x, self.y, self.y))
        return self.made

    def _product(self, x: int, weights: np.ndarray, scales: np.ndarray) -> int:
        graph = self.graph
        stored = graph.add_near(self.y, "resize_weights", weights.shape, "int8", weights)
        graph.set_scale(stored, scales, np.zeros(len(scales), np.int64))
        result = self._matrix("resized", (graph.shape(x)[0], len(weights)))
        options = {"fusedActivationFunction": NO_ACTIVATION}
        self.made.append(
            graph.make_int8(
                "FULLY_CONNECTED", [x, stored, -1], [result], "FullyConnectedOptions", **options
            )
        )
        return result

    def _turn(self, x: int) -> int:
        graph = self.graph
        order = graph.add_near(self.y, "order", (2,), "int32", np.array([1, 0], np.int32))
        result = self._matrix("turned", graph.shape(x)[::-1])
        self.made.append(graph.make_int8("TRANSPOSE", [x, order], [result], "TransposeOptions"))
        return result

    def _matrix(self, role: str, shape: tuple[int, ...]) -> int:
        made = self.graph.add_near(self.y, role, shape, "int8")
        self.graph.tensors[made].quantization = self.graph.tensors[self.y].quantization
        return made
