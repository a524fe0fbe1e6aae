"""An integer-only TFLite graph in operators that TensorFlow Lite Micro has, exactly.

Three things keep our int8 files from microcontrollers:

- There is no GELU kernel. In int8 a GELU has 256 answers, and LiteRT computes it by looking them
  up; so does the graph here: CAST to int32, ADD 128, GATHER from a constant. The answers stay the
  same, bit for bit.
- FULLY_CONNECTED with a scale for each channel rounds twice there (first the product with the
  multiplier, then the shift), once in LiteRT, so that about one value of a thousand is off by one.
  CONV_2D rounds alike in both. A Dense layer is therefore written as a 1x1 convolution: the same
  weights, the same sums.
- Values are moved along few axes only: see
  :mod:`edgevit.formats.tflite.writer.quantize.merge_axes`.

What comes out runs in LiteRT too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where
from edgevit.formats.tflite.writer.quantize.merge_axes import MOST, merge_axes

LEVELS = 256
PADDING_VALID = 1  # of the schema


def suit_micro(graph: TfliteGraph) -> tuple[str, ...]:
    """Rewrites GELU as a table, Dense layers as convolutions, and what moves along many axes.

    Args:
        graph: integer-only, of a fixed batch; changed in place.

    Returns:
        Steps taken.
    """
    writer = _Writer(graph)
    rewrites: dict[str, Callable[[Any], list[Any] | None]] = {
        "GELU": writer.write_gelu,
        "FULLY_CONNECTED": writer.write_convolution,
        **dict.fromkeys(MOST, partial(merge_axes, graph)),
    }
    counts = dict.fromkeys(rewrites, 0)

    def write(operator: Any) -> list[Any] | None:
        kind = graph.kind(operator)
        written = rewrites[kind](operator) if kind in rewrites else None
        if written is not None:
            counts[kind] += 1
        return written

    replace_where(graph, write)
    graph.prune()
    merged = sum(counts[kind] for kind in MOST)
    return (
        f"{counts['GELU']} GELU as tables of {LEVELS} entries",
        f"{counts['FULLY_CONNECTED']} Dense layers as 1x1 convolutions",
        *([f"{merged} transpositions and slices over fewer axes"] if merged else []),
    )


def gelu_table(
    entering: tuple[float, int], leaving: tuple[float, int], approximate: bool
) -> np.ndarray:
    """What LiteRT answers to each level. int8 256, for -128 to 127.

    Args:
        entering: scale and zero point of the input.
        leaving: of the output.
        approximate: the tanh form instead of the exact one.
    """
    x = np.float32(entering[0]) * (np.arange(-128, 128) - entering[1]).astype(np.float32)
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)
        y = 0.5 * x * (1 + np.tanh(inner))
    else:
        y = 0.5 * x * (1 + np.array([math.erf(value / math.sqrt(2)) for value in x.tolist()]))
    scaled = y.astype(np.float32) * (np.float32(1) / np.float32(leaving[0]))
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))  # halves away from 0
    return np.clip(rounded + leaving[1], -128, 127).astype(np.int8)


class _Writer:
    """What takes the place of an operator, made in a graph."""

    def __init__(self, graph: TfliteGraph):
        self.graph = graph
        self._offset: int | None = None

    def write_gelu(self, operator: Any) -> list[Any] | None:
        """CAST, ADD and GATHER for a GELU from int8 to int8; None for another."""
        graph = self.graph
        x, y = int(operator.inputs[0]), int(operator.outputs[0])
        if (graph.type(x), graph.type(y)) != ("int8", "int8"):
            return None
        approximate = operator.builtinOptions.approximate
        answers = gelu_table(self._levels(x), self._levels(y), approximate)
        table = graph.add_near(y, "gelu_table", (LEVELS,), "int8", answers)
        graph.tensors[table].quantization = graph.tensors[y].quantization
        if self._offset is None:
            self._offset = self.graph.add_near(
                y, "gelu_offset", (), "int32", np.array(128, np.int32)
            )
        level = graph.add_near(y, "gelu_level", graph.shape(x), "int32")
        place = graph.add_near(y, "gelu_place", graph.shape(x), "int32")
        types = {"inDataType": graph.tensors[x].type, "outDataType": graph.tensors[level].type}
        return [
            graph.make_int8("CAST", [x], [level], "CastOptions", **types),
            graph.make_elementwise("ADD", [level, self._offset], place),
            graph.make_int8("GATHER", [table, place], [y], "GatherOptions"),
        ]

    def write_convolution(self, operator: Any) -> list[Any] | None:
        """CONV_2D for a FULLY_CONNECTED with constant int8 weights; None for another."""
        graph = self.graph
        x, kernel, y = (int(index) for index in (*operator.inputs[:2], operator.outputs[0]))
        if not graph.is_constant(kernel) or {graph.type(t) for t in (x, kernel, y)} != {"int8"}:
            return None
        width, depth = graph.shape(kernel)[0], graph.shape(kernel)[-1]
        graph.tensors[kernel].shape = [width, 1, 1, depth]
        rows = math.prod(graph.shape(x)) // depth
        source, result = x, y
        before, after = [], []
        if len(graph.shape(x)) != 4 or len(graph.shape(y)) != 4:
            source = graph.add_near(y, "rows", (1, rows, 1, depth), "int8")
            graph.tensors[source].quantization = graph.tensors[x].quantization
            before.append(graph.make_reshape(x, source, y))
            result = graph.add_near(y, "product", (1, rows, 1, width), "int8")
            graph.tensors[result].quantization = graph.tensors[y].quantization
            after.append(graph.make_reshape(result, y, y))
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = int(operator.inputs[2]) if has_bias else self._no_bias(x, kernel, y)
        product = graph.make_int8(
            "CONV_2D",
            [source, kernel, bias],
            [result],
            "Conv2DOptions",
            padding=PADDING_VALID,
            strideH=1,
            strideW=1,
            fusedActivationFunction=operator.builtinOptions.fusedActivationFunction,
        )
        return [*before, product, *after]

    def _no_bias(self, x: int, kernel: int, near: int) -> int:
        """Zeros, since an integer convolution must have a bias."""
        scales = np.float32(self.graph.scales(x)[0]) * np.array(self.graph.scales(kernel))
        width = self.graph.shape(kernel)[0]
        bias = self.graph.add_near(near, "no_bias", (width,), "int32", np.zeros(width, np.int32))
        self.graph.set_scale(bias, scales, np.zeros(len(scales), np.int64))
        return bias

    def _levels(self, tensor: int) -> tuple[float, int]:
        """(scale, zero point) of a tensor that has one of each."""
        found = self.graph.tensors[tensor].quantization
        return float(found.scale[0]), int(found.zeroPoint[0])
