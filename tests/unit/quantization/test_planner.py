"""The plan of a mixed file is the cheapest there is: held against every other one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgevit.core.target import Precision
from edgevit.quantization.kernel_costs import KernelCosts, Line, OpSize, shipped_costs
from edgevit.quantization.planner import (
    FloatGraph,
    PlannedOp,
    list_groups,
    plan_precisions,
    predict,
)
from edgevit.quantization.precisions import precisions_of, recipe_of

STATIC = frozenset((Precision.FLOAT32, Precision.INT8))
KINDS = ("FULLY_CONNECTED", "ADD", "MUL", "GELU", "RESHAPE")


def random_graph(seed: int, count: int = 7) -> FloatGraph:
    """Operators that each read one or two tensors made before them; two of them share a group."""
    rng = np.random.default_rng(seed)
    ops = []
    for number in range(count):
        kind = KINDS[rng.integers(len(KINDS))]
        reads = rng.integers(0, number + 1, 2 if kind in ("ADD", "MUL") else 1)
        layer = f"net/block{number if number != 3 else 2}"
        size = OpSize(int(rng.integers(1, 100)), int(rng.integers(1, 100)))
        inputs = tuple(int(index) for index in reads)
        weighted = kind == "FULLY_CONNECTED"
        kernels = STATIC | {Precision.DYNAMIC} if weighted else STATIC
        ops.append(PlannedOp(kind, layer, inputs, (number + 1,), size, kernels, weighted))
    sizes = {index: int(rng.integers(1, 60)) for index in range(count + 1)}
    return FloatGraph(tuple(ops), (0,), (count, count - 2), sizes)


def random_costs(seed: int) -> KernelCosts:
    rng = np.random.default_rng(seed + 1000)

    def line():
        return Line(*(float(value) for value in rng.integers(0, 40, 3)))

    lines = {
        kind: {Precision.FLOAT32: line(), Precision.INT8: line()}
        | ({Precision.DYNAMIC: line()} if kind == "FULLY_CONNECTED" else {})
        for kind in KINDS
    }
    conversions = {kind: {Precision.INT8: line()} for kind in ("QUANTIZE", "DEQUANTIZE")}
    return KernelCosts("drawn", lines | conversions)


def every_assignment(graph: FloatGraph):
    groups = list_groups(graph)
    for choice in itertools.product(
        (Precision.FLOAT32, Precision.DYNAMIC, Precision.INT8), repeat=len(groups)
    ):
        chosen = dict(zip(groups, choice, strict=True))
        found = tuple(chosen[op.group] for op in graph.ops)
        pairs = zip(graph.ops, found, strict=True)
        if all(op.weighted or p is not Precision.DYNAMIC for op, p in pairs):
            yield found


def test_no_assignment_is_cheaper_than_the_plan():
    mixtures = 0
    for seed in range(25):
        graph, costs = random_graph(seed), random_costs(seed)
        planned = plan_precisions(graph, costs)
        cheapest = min(predict(graph, other, costs) for other in every_assignment(graph))
        assert predict(graph, planned, costs) == pytest.approx(cheapest, abs=1e-6), seed
        mixtures += 0 < sum(p is Precision.INT8 for p in planned) < len(planned)
    assert mixtures > 5  # else the drawn costs leave nothing to decide


def test_what_is_not_allowed_stays_float():
    for seed in range(10):
        graph, costs = random_graph(seed), random_costs(seed)
        planned = plan_precisions(graph, costs, lambda op: op.kind != "ADD")
        for op, precision in zip(graph.ops, planned, strict=True):
            assert op.kind != "ADD" or precision is Precision.FLOAT32
        assert Precision.INT8 not in plan_precisions(graph, costs, lambda op: False)


def test_a_margin_keeps_float_where_int8_gains_little():
    line = {Precision.FLOAT32: Line(105, 0, 0), Precision.INT8: Line(100, 0, 0)}
    free = {Precision.INT8: Line(0, 0, 0)}
    costs = KernelCosts("drawn", {"GELU": line, "QUANTIZE": free, "DEQUANTIZE": free})
    op = PlannedOp("GELU", "net", (0,), (1,), OpSize(1), STATIC)
    graph = FloatGraph((op,), (0,), (1,), {0: 1, 1: 1})
    assert plan_precisions(graph, costs) == (Precision.INT8,)
    assert plan_precisions(graph, costs, margin=1.1) == (Precision.FLOAT32,)


def test_a_group_has_one_precision_and_the_recipe_says_the_same():
    for seed in range(25):
        graph, costs = random_graph(seed), random_costs(seed)
        planned = plan_precisions(graph, costs)
        for group in list_groups(graph):
            own = {p for op, p in zip(graph.ops, planned, strict=True) if op.group == group}
            assert len(own) == 1
        recipe = recipe_of(graph, planned, "net")
        assert precisions_of(graph, recipe) == planned, seed


def test_a_tensor_that_crosses_is_paid_once_a_direction():
    costs = KernelCosts(
        "drawn",
        {
            "ADD": {Precision.FLOAT32: Line(1, 0, 0), Precision.INT8: Line(1, 0, 0)},
            "QUANTIZE": {Precision.INT8: Line(100, 0, 0)},
            "DEQUANTIZE": {Precision.INT8: Line(10, 0, 0)},
        },
    )
    ops = tuple(
        PlannedOp("ADD", f"l{number}", (reads,), (number + 1,), OpSize(1), STATIC)
        for number, reads in enumerate((0, 1, 1, 1))
    )
    graph = FloatGraph(ops, (0,), (2, 3, 4), dict.fromkeys(range(5), 1))
    one_float = (Precision.FLOAT32, *[Precision.INT8] * 3)
    assert predict(graph, one_float, costs) == 4 + 100 + 3 * 10
    one_int8 = (Precision.INT8, *[Precision.FLOAT32] * 3)
    assert predict(graph, one_int8, costs) == 4 + 100 + 10  # its own input is float


def test_the_shipped_table_knows_every_kind_and_names_its_machine():
    costs = shipped_costs()
    assert "cores" in costs.machine
    for kind in ("FULLY_CONNECTED", "CONV_2D"):
        assert set(costs.lines[kind]) == {Precision.FLOAT32, Precision.DYNAMIC, Precision.INT8}
    for kind in ("ADD", "MUL", "SUB", "MEAN", "RSQRT", "GELU", "SOFTMAX", "BATCH_MATMUL"):
        assert set(costs.lines[kind]) == {Precision.FLOAT32, Precision.INT8}
    size = OpSize(20_000, 1_000_000)
    assert costs.cost("SOFTMAX", Precision.INT8, size) > costs.cost(
        "SOFTMAX", Precision.FLOAT32, size
    )
    streamed = OpSize(1_000, 1_000_000, 1_000_000)
    for kind in ("FULLY_CONNECTED", "CONV_2D"):
        assert costs.cost(kind, Precision.DYNAMIC, streamed) < costs.cost(
            kind, Precision.FLOAT32, streamed
        )
    assert costs.cost("QUANTIZE", Precision.INT8, size) > 0
