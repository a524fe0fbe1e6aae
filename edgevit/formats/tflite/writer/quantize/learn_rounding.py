"""Weights rounded for the samples: what enters each layer decides which way its weights go.

The rounding stands in :mod:`edgevit.quantization.learned_rounding`. Here a float graph runs on the
samples, what enters each layer is gathered at a few places of each, and weights are put onto their
levels before anything is quantised. The bias takes what is left in the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.operators import OPERATORS, WEIGHTED
from edgevit.formats.tflite.writer.graph import RELU, TfliteGraph
from edgevit.formats.tflite.writer.observe import watch_activations
from edgevit.formats.tflite.writer.passes.channels import SAME_PADDING, activation
from edgevit.formats.tflite.writer.passes.rewriting import rewrite_each
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.quantization.learned_rounding import learn_levels

DEPTHWISE = "DEPTHWISE_CONV_2D"
PLACES = 64  # of each sample at which is looked; positions of one picture tell much the same
RELU6 = 3  # ActivationFunctionType of the schema
SIX_OFF = 1e-4
AT_ONCE = 512  # places that are added up together
MOST_INPUTS = 2304  # of an output channel: a layer of more keeps the nearest levels
MOST_BYTES = 1 << 29  # of all covariances; layers behind that keep the nearest levels


def learn_rounding(graph: TfliteGraph, ranges: Ranges, inputs: Mapping[str, Any]) -> PassReport:
    """Puts weights of a float graph onto the levels that suit what enters them.

    Args:
        graph: float32, about to be quantised; changed in place.
        ranges: (smallest, largest) by tensor name; what lies outside is cut off.
        inputs: samples, N ... by name, as the graph takes them.
    """
    gathered = _gather(graph, ranges, inputs)

    def learn(graph: TfliteGraph, operator: Any) -> bool | Declined:
        if graph.kind(operator) not in WEIGHTED:
            return False
        found = gathered.get(id(operator))
        if found is None:
            return Declined("its weights are computed, or too many")
        _round(graph, operator, found)
        return True

    report = rewrite_each("learn-rounding", graph, graph.operators, learn)
    if report.count:
        graph.prune()
    return report


class _Sums:
    """Mean and covariance of what a layer's weights meet, added up sample by sample.

    Args:
        shape: K, or C T for a depthwise layer, where each channel meets its own window.
    """

    def __init__(self, shape: tuple[int, ...]):
        self._middle = np.zeros(shape)  # near the mean, so that squares stay small
        self._first = np.zeros(shape)
        self._second = np.zeros((*shape, shape[-1]), np.float32)
        self._count = 0
        self._waiting: list[np.ndarray] = []

    def see(self, rows: np.ndarray) -> None:
        """Takes rows P K, or P C T."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= AT_ONCE:
            self._take_in()

    def _take_in(self) -> None:
        rows = np.concatenate(self._waiting)
        self._waiting = []
        if not self._count:
            self._middle = rows.mean(axis=0)
        rows = rows - self._middle
        self._first += rows.sum(axis=0, dtype=np.float64)
        if rows.ndim == 2:
            self._second += rows.T @ rows
        else:
            turned = rows.transpose(1, 2, 0)  # C T P
            self._second += turned @ turned.swapaxes(1, 2)
        self._count += len(rows)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, K or C T; covariance, K K or C T T)."""
        if self._waiting:
            self._take_in()
        off = self._first / self._count
        return off + self._middle, self._second / self._count - off[..., :, None] * off[
            ..., None, :
        ]


@dataclass(frozen=True)
class _Window:
    """Where a layer's weights meet its input.

    Attributes:
        rows: of the padded input, P T.
        columns: likewise.
        before: zeros in front of rows and columns.
        size: rows and columns of the padded input.
    """

    rows: np.ndarray
    columns: np.ndarray
    before: tuple[int, int]
    size: tuple[int, int]

    def cut(self, value: np.ndarray) -> np.ndarray:
        """What the window shows of one sample: P T C from H W C."""
        zeros = [
            (before, size - own - before)
            for before, size, own in zip(self.before, self.size, value.shape[:2], strict=True)
        ]
        return np.pad(value, [*zeros, (0, 0)])[self.rows, self.columns]


def _gather(
    graph: TfliteGraph, ranges: Ranges, inputs: Mapping[str, Any]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """(mean, covariance) of what enters each layer, by its operator's id."""
    layers = _list_layers(graph)
    sums = {id(operator): _Sums(_shape_of(graph, operator)) for operator in layers}
    readers: dict[str, list[Any]] = {}
    for operator in layers:
        readers.setdefault(graph.name(int(operator.inputs[0])), []).append(operator)
    rng = np.random.default_rng(0)

    def see(name: str, value: np.ndarray) -> None:
        low, high = ranges.get(name, (-np.inf, np.inf))
        cut = np.clip(value, min(low, 0.0), max(high, 0.0))
        for operator in readers[name]:
            sums[id(operator)].see(_rows_of(graph, operator, cut, rng))

    watched = {int(operator.inputs[0]): graph.name(int(operator.inputs[0])) for operator in layers}
    watch_activations(_cut_at_six(graph, ranges), watched, inputs, see)
    return {key: found.finish() for key, found in sums.items()}


def _cut_at_six(graph: TfliteGraph, ranges: Ranges) -> TfliteGraph:
    """A copy in which ReLU6, levelled away, cuts where the end of the range is going to."""
    graph = graph.copy()
    for operator in graph.operators:
        high = ranges.get(graph.name(int(operator.outputs[0])), (0.0, 0.0))[1]
        if activation(operator) == RELU and abs(high - 6) < SIX_OFF:
            operator.builtinOptions.fusedActivationFunction = RELU6
    return graph


def _list_layers(graph: TfliteGraph) -> list[Any]:
    """Layers whose rounding can be learnt, as many as memory is given for."""
    found, left = [], MOST_BYTES
    for operator in graph.operators:
        if graph.kind(operator) not in WEIGHTED or graph.constant_input(operator, 1) is None:
            continue
        biased = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        if biased and graph.constant_input(operator, 2) is None:
            continue
        shape = _shape_of(graph, operator)
        need = 4 * int(np.prod(shape)) * shape[-1]
        if shape[-1] <= MOST_INPUTS and need <= left and not _is_grouped(graph, operator):
            found.append(operator)
            left -= need
    return found


def _is_grouped(graph: TfliteGraph, operator: Any) -> bool:
    channels = graph.shape(int(operator.inputs[0]))[-1]
    return graph.kind(operator) == "CONV_2D" and channels != graph.shape(int(operator.inputs[1]))[3]


def _shape_of(graph: TfliteGraph, operator: Any) -> tuple[int, ...]:
    """K, or C T for a depthwise layer."""
    shape = graph.shape(int(operator.inputs[1]))
    if graph.kind(operator) == DEPTHWISE:
        return graph.shape(int(operator.inputs[0]))[-1], shape[1] * shape[2]
    return (int(np.prod(shape[1:])),)


def _rows_of(
    graph: TfliteGraph, operator: Any, value: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What a layer's weights meet at some places of one sample: P K, or P C T."""
    shape = _shape_of(graph, operator)
    if graph.kind(operator) == "FULLY_CONNECTED":
        rows = value.reshape(-1, shape[0])
        return rows[rng.permutation(len(rows))[:PLACES]]
    seen = _window(graph, operator, value.shape[1:3], rng).cut(value[0])  # P T C
    return seen.transpose(0, 2, 1) if len(shape) == 2 else seen.reshape(len(seen), -1)


def _window(
    graph: TfliteGraph, operator: Any, size: tuple[int, ...], rng: np.random.Generator
) -> _Window:
    options = operator.builtinOptions
    sides = [
        _side(length, kernel, step, spread, options.padding == SAME_PADDING)
        for length, kernel, step, spread in zip(
            size,
            graph.shape(int(operator.inputs[1]))[1:3],
            (options.strideH, options.strideW),
            (options.dilationHFactor, options.dilationWFactor),
            strict=True,
        )
    ]
    (rows, top, height), (columns, left, width) = sides
    chosen = rng.permutation(len(rows) * len(columns))[:PLACES]
    down, across = np.divmod(chosen, len(columns))
    taps = (len(chosen), rows.shape[1], columns.shape[1])  # P kh kw
    return _Window(
        np.broadcast_to(rows[down][:, :, None], taps).reshape(len(chosen), -1),
        np.broadcast_to(columns[across][:, None, :], taps).reshape(len(chosen), -1),
        (top, left),
        (height, width),
    )


def _side(
    size: int, kernel: int, step: int, spread: int, padded: bool
) -> tuple[np.ndarray, int, int]:
    """(places of the padded input that each output meets, zeros in front, padded size)."""
    reach = (kernel - 1) * spread + 1
    count = -(-size // step) if padded else (size - reach) // step + 1
    zeros = max(0, (count - 1) * step + reach - size) if padded else 0
    places = np.arange(count)[:, None] * step + np.arange(kernel) * spread
    return places, zeros // 2, size + zeros


def _round(graph: TfliteGraph, operator: Any, found: tuple[np.ndarray, np.ndarray]) -> None:
    mean, covariance = found
    weights, bias = (graph.constant_input(operator, place) for place in (1, 2))
    axis = OPERATORS[graph.kind(operator)].weights_axis
    assert weights is not None
    assert axis is not None
    turned = np.moveaxis(weights, axis, 0)
    rows = turned.reshape(len(turned), -1)  # N K
    if graph.kind(operator) == DEPTHWISE:  # each channel serves as many outputs
        each = len(rows) // len(mean)
        mean, covariance = (np.repeat(part, each, axis=0) for part in (mean, covariance))
    levels = learn_levels(rows, covariance)
    moved = ((levels - rows) * mean).sum(axis=1)
    new = np.moveaxis(levels.reshape(turned.shape), 0, axis)
    graph.give_constant(operator, 1, new, "weights")
    graph.give_constant(operator, 2, -moved if bias is None else bias - moved, "bias")
