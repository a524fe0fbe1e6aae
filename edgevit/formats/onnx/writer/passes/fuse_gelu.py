"""Gelu out of its pieces, whatever way they are arranged.

Source: ONNX Gelu-20; Hendrycks & Gimpel 2016, "Gaussian Error Linear Units" (arXiv:1606.08415).

There are dozens of ways to write it down: where the half stands, whether the input is divided or
multiplied, Erf or one minus Erf. So nothing is matched piece by piece. From an Erf or a Tanh the
pass takes ever larger regions of elementwise nodes that hang on one value alone, computes them in
float64 over a range of inputs, and compares the result with the definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_node,
    dims,
    maker,
    read_outside,
    readers,
    replace,
    scalar,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

POINTS = np.linspace(-6.0, 6.0, 241)
# Constants in a graph are float32: 1 / sqrt(2) is off by 2e-8 of itself.
LARGEST_DIFFERENCE = 1e-6
MOST_NODES = 16

_erf = np.vectorize(math.erf, otypes=[np.float64])
OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Erf": _erf,
    "Tanh": np.tanh,
}
FORMS = {
    "none": 0.5 * POINTS * (1.0 + _erf(POINTS / math.sqrt(2.0))),
    "tanh": 0.5
    * POINTS
    * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (POINTS + 0.044715 * POINTS**3))),
}


def find_gelu(node: ir.Node) -> Found:
    """Starts from Erf or Tanh."""
    for x in _inputs_above(node):
        for result in _results_below(node, x):
            values = _compute(result, x)
            for form, expected in FORMS.items():
                if values is not None and np.abs(values - expected).max() <= LARGEST_DIFFERENCE:
                    outside = read_outside(x, result)
                    if outside:
                        return Declined(f"something else reads {outside} inside it")
                    return partial(_fuse, x, result, form)
    if node.op_type == "Tanh":
        return None  # an activation of its own
    return Declined("what surrounds the Erf is not the GELU function")


def _fuse(x: ir.Value, result: ir.Value, form: str) -> None:
    """One node instead of five to nine."""
    output = add_node(maker(result), "Gelu", [x], dims(x), {"approximate": form})
    replace(result, output)


def _inputs_above(node: ir.Node) -> list[ir.Value]:
    """The values that a node's input is computed from alone, the nearest first."""
    found: list[ir.Value] = []
    waiting: list[ir.Value] = [value for value in node.inputs if value is not None]
    for _ in range(MOST_NODES):
        if len({id(value) for value in waiting}) == 1:
            found.append(waiting[0])
        expanded = _latest(waiting)
        if expanded is None:
            break
        waiting = [value for value in waiting if value is not expanded]
        waiting += [value for value in maker(expanded).inputs if value and scalar(value) is None]
    return found


def _latest(waiting: list[ir.Value]) -> ir.Value | None:
    """The value of a set that none of the others is computed from, if it is elementwise."""
    for value in waiting:
        node = value.producer()
        if node is None or node.op_type not in OPERATIONS:
            continue
        others = [other for other in waiting if other is not value]
        if not any(_is_above(value, other) for other in others):
            return value
    return None


def _is_above(value: ir.Value, other: ir.Value, steps: int = MOST_NODES) -> bool:
    node = other.producer()
    if node is None or node.op_type not in OPERATIONS or not steps:
        return False
    return any(part is value or _is_above(value, part, steps - 1) for part in node.inputs if part)


def _results_below(node: ir.Node, x: ir.Value) -> list[ir.Value]:
    """The values computed from a node, each the sole result so far, up to the last elementwise."""
    found = []
    value = node.outputs[0]
    for _ in range(MOST_NODES):
        uses = readers(value)
        if len(uses) != 1 or uses[0].op_type not in OPERATIONS:
            break
        value = uses[0].outputs[0]
        found.append(value)
    return found


def _compute(result: ir.Value, x: ir.Value) -> np.ndarray | None:
    """A region's values at POINTS; None where it hangs on anything but x and scalars."""
    known: dict[int, np.ndarray] = {id(x): POINTS}

    def value_of(value: ir.Value, steps: int) -> np.ndarray | None:
        if id(value) in known:
            return known[id(value)]
        number = scalar(value)
        if number is not None:
            return np.array(number)
        node = value.producer()
        if node is None or node.op_type not in OPERATIONS or not steps:
            return None
        parts = [value_of(part, steps - 1) for part in node.inputs if part is not None]
        if any(part is None for part in parts):
            return None
        with np.errstate(all="ignore"):
            known[id(value)] = np.asarray(OPERATIONS[node.op_type](*parts))
        return known[id(value)]

    values = value_of(result, MOST_NODES)
    return values if values is not None and values.shape == POINTS.shape else None


fuse_gelu = rewrite_pass(
    "fuse_gelu", "Gelu out of its pieces", ("Erf", "Tanh"), find_gelu, opset=20
)
