"""Ranges of scaled pixels, so that no pixel lies halfway between two levels.

``x / 127.5 - 1`` makes 256 values of 256 pixels, a level apart, and zero lies halfway between two
of them. Since zero is a level, for padding, each pixel is off by half a level then. Where levels
are a little further apart pixels are off by anything up to that: a third of the error's power.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.channels import activation
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.quantization.levels import affine_of

STEPS = {"MUL": np.multiply, "ADD": np.add, "SUB": np.subtract}
WIDTHS = tuple(1 + extra / 255 for extra in range(4))


def avoid_ties(graph: TfliteGraph, ranges: Ranges, raw: Sequence[str]) -> Ranges:
    """The ranges, those of scaled pixels as wide as rounds all 256 of them best.

    Args:
        graph: float32; it stays as it is.
        ranges: (smallest, largest) by tensor name.
        raw: names of the inputs that take pixels, 0..255.
    """
    found = dict(ranges)
    for name in raw:
        tensor, pixels = graph.input_named(name), np.arange(256.0)[:, None]  # 256 C
        while step := _find_step(graph, tensor):
            operator, constant = step
            pixels = STEPS[graph.kind(operator)](pixels, constant)
            tensor = int(operator.outputs[0])
            found[graph.name(tensor)] = _choose(pixels, ranges[graph.name(tensor)])
    return found


def _find_step(graph: TfliteGraph, tensor: int) -> tuple[Any, np.ndarray] | None:
    """(the only operator that reads a tensor, its constant) where it scales or shifts channels."""
    readers = list(graph.readers(tensor))
    if len(readers) != 1 or graph.is_output(tensor):
        return None
    operator, place = readers[0]
    if graph.kind(operator) not in STEPS or place != 0 or activation(operator) != NO_ACTIVATION:
        return None
    constant = graph.constant_input(operator, 1)
    if constant is None or constant.size not in (1, graph.shape(tensor)[-1]):
        return None
    return operator, constant.reshape(-1).astype(np.float64)


def _choose(pixels: np.ndarray, pair: tuple[float, float]) -> tuple[float, float]:
    wide = [(width * pair[0], width * pair[1]) for width in WIDTHS]
    return wide[int(np.argmin([_error(pixels, low, high) for low, high in wide]))]


def _error(pixels: np.ndarray, low: float, high: float) -> float:
    levels = affine_of(low, high)
    scaled = pixels / float(levels.scale) + levels.zero_point
    off = np.clip(np.rint(scaled), 0, 255) - scaled
    return float(np.square(off).mean()) * float(levels.scale) ** 2
