"""Which operators become int8: the cheapest assignment under a table of kernel costs, exactly.

Every group of operators is either on the float side (float32, or dynamic where that is cheaper) or
int8. A tensor that crosses costs one conversion a direction, however many operators read it. The
cheapest such division of a graph is a minimum cut (Picard and Ratliff 1975), so no heuristic is
needed and pairs of QUANTIZE and DEQUANTIZE stand only where they pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgevit.core.target import Precision
from edgevit.quantization.kernel_costs import KernelCosts, OpSize
from edgevit.quantization.minimum_cut import NEVER, SINK, SOURCE, FlowNetwork

# Lines through measurements are right within a tenth at best: for less, no pair of conversions.
MARGIN = 1.1


@dataclass(frozen=True)
class PlannedOp:
    """One operator of a float graph.

    Attributes:
        kind: such as "ADD".
        layer: path of its Keras layer.
        inputs: activations that it reads.
        outputs: what it writes.
        size: how much it reads, writes and multiplies.
        precisions: that it has kernels for.
        weighted: whether it multiplies by stored weights.
        delicate: whether 8 bits take accuracy from it first.
    """

    kind: str
    layer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size: OpSize
    precisions: frozenset[Precision]
    weighted: bool = False
    delicate: bool = False

    @property
    def group(self) -> tuple[str, str]:
        """What a rule can tell apart: layer and kind."""
        return self.layer, self.kind


@dataclass(frozen=True)
class FloatGraph:
    """What planning needs to know of a float graph.

    Attributes:
        ops: in the order of the file.
        inputs: tensors of the file's inputs.
        outputs: likewise.
        elements: of each activation, by tensor.
    """

    ops: tuple[PlannedOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    elements: dict[int, int]


Allowed = Callable[[PlannedOp], bool]


def plan_precisions(
    graph: FloatGraph,
    costs: KernelCosts,
    allowed: Allowed = lambda op: True,
    margin: float = 1.0,
) -> tuple[Precision, ...]:
    """The cheapest precision of every operator.

    Args:
        graph: float graph.
        costs: of kernels.
        allowed: whether an operator may become int8; all operators of one group count as allowed
            only if each is.
        margin: factor on what int8 and its conversions cost; above 1, only clear gains count.

    Returns:
        FLOAT32, DYNAMIC or INT8 for each operator; one of them for a whole group.
    """
    groups = {group: number for number, group in enumerate(list_groups(graph))}
    plain, dynamic, integer = np.zeros((3, len(groups)))
    for op in graph.ops:
        number = groups[op.group]
        own = costs.cost(op.kind, Precision.FLOAT32, op.size) or 0.0
        plain[number] += own
        weights_only = costs.cost(op.kind, Precision.DYNAMIC, op.size) if op.weighted else None
        dynamic[number] += own if weights_only is None else weights_only
        cost = costs.cost(op.kind, Precision.INT8, op.size)
        usable = Precision.INT8 in op.precisions and allowed(op)
        integer[number] += margin * cost if usable and cost is not None else NEVER
    network = _as_network(np.minimum(plain, dynamic), integer)
    for tensor, writer, readers in _tensors(graph, groups):
        size = OpSize(graph.elements[tensor])
        down = costs.cost("QUANTIZE", Precision.INT8, size) or 0.0
        up = costs.cost("DEQUANTIZE", Precision.INT8, size) or 0.0
        made = SINK if writer is None else 2 + writer  # inputs and outputs are float
        read = [2 + reader for reader in readers] + [SINK] * (tensor in graph.outputs)
        network.add_tensor(made, read, margin * down, margin * up)
    chosen = network.cut()
    found = []
    for op in graph.ops:
        number = groups[op.group]
        quicker = op.weighted and dynamic[number] < plain[number]
        on_float = Precision.DYNAMIC if quicker else Precision.FLOAT32
        found.append(Precision.INT8 if chosen[number] else on_float)
    return tuple(found)


def plan_careful(graph: FloatGraph, costs: KernelCosts) -> tuple[Precision, ...]:
    """The cheapest precisions with delicate operators in float.

    What 8 bits take accuracy from first stays float whatever it costs, without images to measure
    the loss with: that is what an export without a budget takes.
    """
    return plan_precisions(graph, costs, is_sturdy, MARGIN)


def is_sturdy(op: PlannedOp) -> bool:
    """Whether an operator may become int8 without a measurement of what that costs."""
    return not op.delicate or op.layer.startswith("preprocessing")


def list_groups(graph: FloatGraph) -> list[tuple[str, str]]:
    """(layer, kind) of every group, in the order of the file."""
    return list(dict.fromkeys(op.group for op in graph.ops))


def predict(graph: FloatGraph, precisions: tuple[Precision, ...], costs: KernelCosts) -> float:
    """ns that a graph takes with these precisions, by the table."""
    total = 0.0
    for op, precision in zip(graph.ops, precisions, strict=True):
        total += costs.cost(op.kind, precision, op.size) or 0.0
    int8 = {
        index
        for op, precision in zip(graph.ops, precisions, strict=True)
        if precision is Precision.INT8
        for index in op.outputs
    }
    quantised, back = set(), set(graph.outputs) & int8
    for op, precision in zip(graph.ops, precisions, strict=True):
        for index in op.inputs:
            if precision is Precision.INT8 and index not in int8:
                quantised.add(index)
            elif precision is not Precision.INT8 and index in int8:
                back.add(index)
    for kind, crossing in (("QUANTIZE", quantised), ("DEQUANTIZE", back)):
        for index in crossing:
            total += costs.cost(kind, Precision.INT8, OpSize(graph.elements[index])) or 0.0
    return total


def _tensors(
    graph: FloatGraph, groups: dict[tuple[str, str], int]
) -> Iterator[tuple[int, int | None, list[int]]]:
    """(tensor, group that writes it or None for an input, groups that read it)."""
    writers = {index: groups[op.group] for op in graph.ops for index in op.outputs}
    readers: dict[int, list[int]] = {}
    for op in graph.ops:
        for index in op.inputs:
            readers.setdefault(index, []).append(groups[op.group])
    for index in graph.elements:
        if index in writers or index in readers:
            yield index, writers.get(index), sorted(set(readers.get(index, [])))


def _as_network(as_float: np.ndarray, as_int8: np.ndarray) -> FlowNetwork:
    """Groups whose division a minimum cut finds: the source's side is int8.

    Args:
        as_float: cost of each group in float.
        as_int8: likewise in int8.
    """
    network = FlowNetwork(len(as_float))
    for number in range(len(as_float)):
        network.add_edge(SOURCE, 2 + number, as_float[number])  # cut where the group is float
        network.add_edge(2 + number, SINK, as_int8[number])
    return network
