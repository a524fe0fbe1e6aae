"""Which values of an .onnx graph lie on levels: from each DequantizeLinear, as far as they stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgevit.formats.intermediate import Levels

MOVES = ("Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze")  # values stay


def find_levels(graph: Any) -> dict[str, Levels]:
    """The levels of float tensors by name.

    Levels of channels are followed whatever axis the channels move to. Where some of them are cut
    off, :meth:`edgevit.formats.intermediate.Levels.match` makes one grid of them.

    Args:
        graph: an onnx.GraphProto whose nodes are in the order of computation.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, Levels] = {}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" and not (node.input and node.input[0] in found):
            continue
        if node.op_type in MOVES:
            levels: Levels | None = found[node.input[0]]
        elif node.op_type in CHANGES and all(name in constants for name in node.input[1:]):
            others = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
            levels = CHANGES[node.op_type](found.get(node.input[0]), *others)
        else:
            continue
        if levels is not None:
            found.update((name, levels) for name in node.output)
    return found


def _dequantize(before: Levels | None, scale: np.ndarray, *zeros: np.ndarray) -> Levels | None:
    return Levels.of_integers(zeros[0].dtype, scale, zeros[0]) if zeros else None


def _scale(levels: Levels, factor: np.ndarray) -> Levels | None:
    return levels.scale(factor.reshape(-1)) if _is_by_channel(levels, factor) else None


def _shift(levels: Levels, offset: np.ndarray) -> Levels | None:
    return levels.shift(offset.reshape(-1)) if _is_by_channel(levels, offset) else None


def _cut(levels: Levels, *ends: np.ndarray) -> Levels | None:
    return levels.limit(float(ends[0]), float(ends[1])) if len(ends) == 2 else None


def _cut_at_zero(levels: Levels) -> Levels:
    return levels.limit(0.0, np.inf)


def _is_by_channel(levels: Levels, constant: np.ndarray) -> bool:
    """Whether a constant is one number, or one for each channel of the levels."""
    if constant.size == 1:
        return True
    one_axis = constant.size == max(constant.shape)
    return one_axis and levels.step.size in (1, constant.size)


CHANGES: Mapping[str, Any] = {
    "DequantizeLinear": _dequantize,
    "Mul": _scale,
    "Add": _shift,
    "Clip": _cut,
    "Relu": _cut_at_zero,
}
