"""Functions of one tensor that have no int8 kernel, as tables of 256 entries.

ELU, SELU, softplus, mish, softsign, a reciprocal: whatever is computed element by element from one
int8 tensor has 256 answers, and from one int16 tensor 65,536. LiteRT has kernels for some parts of
such functions, with a rounding after each, and for others none, and TensorFlow's quantiser leaves
those in float. Here the whole function is one table: CAST to int32, ADD half the levels, GATHER.

Who quantises must not see the function, so an operator that has a kernel stands in for it until the
integers are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.formats.tflite.operators import OPERATORS, QUANTISED, QUANTISED16
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph


@dataclass(frozen=True)
class Tables:
    """How functions are hidden and tabulated.

    Attributes:
        type: of the levels.
        kernels: what has an integer kernel, of what computes element by element.
        stand_in: an operator of one tensor that stands in for a function.
        most: stand-ins for one tensor; TensorFlow's quantiser merges those that are alike, and a
            GELU is exact or approximate.
    """

    type: str
    kernels: tuple[str, ...]
    stand_in: str
    most: int

    @property
    def half(self) -> int:
        """Levels below zero, as many as from zero on."""
        return -int(np.iinfo(self.type).min)

    @property
    def levels(self) -> np.ndarray:
        """Every level in order. int64."""
        return np.arange(-self.half, self.half)


TABLES_8 = Tables("int8", QUANTISED, "GELU", 2)
TABLES_16 = Tables("int16", QUANTISED16, "ABS", 1 << 16)
Function = Callable[[np.ndarray], np.ndarray]


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _hard_swish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x + 3, 0, 6) / 6


# What operators compute, element by element. Those with an integer kernel come along where they are
# part of a larger function.
ELEMENTWISE: Mapping[str, Callable[..., np.ndarray]] = {
    "ABS": np.abs,
    "ADD": np.add,
    "COS": np.cos,
    "DIV": np.divide,
    "ELU": _elu,
    "EQUAL": np.equal,
    "EXP": np.exp,
    "FLOOR": np.floor,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "HARD_SWISH": _hard_swish,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "LOG": np.log,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_NOT": np.logical_not,
    "LOGICAL_OR": np.logical_or,
    "LOGISTIC": _logistic,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "NEG": np.negative,
    "NOT_EQUAL": np.not_equal,
    "POW": np.power,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "ROUND": np.rint,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "SELECT": np.where,
    "SELECT_V2": np.where,
    "SIGN": np.sign,
    "SIN": np.sin,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
    "SQUARED_DIFFERENCE": lambda x, y: np.square(x - y),
    "SUB": np.subtract,
    "TANH": np.tanh,
}


@dataclass(frozen=True)
class _Cone:
    """All that is computed between one tensor and another, element by element.

    Attributes:
        source: tensor.
        result: tensor.
        operators: in order.
    """

    source: int
    result: int
    operators: tuple[Any, ...]


def hide_functions(graph: TfliteGraph, tables: Tables) -> list[Function | None]:
    """Puts a stand-in where a function of one tensor has no integer kernel.

    Args:
        graph: float32, about to be quantised; changed in place. It computes something else then.
        tables: of the integers that it will compute with.

    Returns:
        For each operator of the stand-in's kind, in order, what it shall compute; None for one that
        is what it is.
    """
    cones = _find_cones(graph, tables)
    if not cones:
        return [None] * graph.kinds.count(tables.stand_in)
    by_result = {cone.result: cone for cone in cones}
    made: dict[int, Function] = {}
    operators: list[Any] = []
    counts: dict[int, int] = {}
    for operator in graph.operators:
        cone = by_result.get(int(operator.outputs[0]))
        if cone is None:
            operators.append(operator)
            continue
        number = counts.get(cone.source, 0)
        counts[cone.source] = number + 1
        stand_in = _stand_in(graph, tables, cone, number)
        made[id(stand_in)] = _function_of(graph, cone)
        operators.append(stand_in)
    graph.operators = operators
    graph.drop_unread()
    functions = [made.get(id(op)) for op in graph.operators if graph.kind(op) == tables.stand_in]
    graph.prune()
    return functions


def _stand_in(graph: TfliteGraph, tables: Tables, cone: _Cone, number: int) -> Any:
    if tables.stand_in != "GELU":
        return graph.make_elementwise(tables.stand_in, [cone.source], cone.result)
    options = {"approximate": number == 1}
    return graph.make_operator("GELU", 1, [cone.source], [cone.result], "GeluOptions", **options)


def write_tables(
    graph: TfliteGraph, functions: Sequence[Function | None], tables: Tables
) -> tuple[str, ...]:
    """Puts tables where stand-ins are.

    Args:
        graph: integer-only; changed in place.
        functions: of :func:`hide_functions`.
        tables: likewise.

    Returns:
        Steps taken; none if the graph is as it was.

    Raises:
        ExportError: the quantiser has changed the order, or left a stand-in in float.
    """
    if not any(functions):
        return ()
    waiting = list(functions)
    if graph.kinds.count(tables.stand_in) != len(waiting):
        raise ExportError("TensorFlow's quantiser has lost a function that has no int8 kernel.")
    operators: list[Any] = []
    for operator in graph.operators:
        function = waiting.pop(0) if graph.kind(operator) == tables.stand_in else None
        operators += [operator] if function is None else _look_up(graph, operator, function, tables)
    graph.operators = operators
    graph.prune()
    count = sum(function is not None for function in functions)
    size = 2 * tables.half
    return (f"{count} functions without an {tables.type} kernel as tables of {size} entries",)


def _find_cones(graph: TfliteGraph, tables: Tables) -> list[_Cone]:
    """The largest functions of one tensor that hold an operator without an integer kernel."""
    made = graph.makers()
    sources: dict[int, int] = {}  # tensor -> what alone it is computed from
    for operator in graph.operators:
        found = _source_of(graph, operator, sources)
        if found is not None:
            sources[int(operator.outputs[0])] = found
    cones = []
    for result, source in sources.items():
        if graph.type(result) != "float32" or not _ends(graph, result, source, sources):
            continue
        operators = _between(graph, made, source, result)
        if any(graph.kind(operator) not in tables.kernels for operator in operators):
            cones.append(_Cone(source, result, operators))
    counts: dict[int, int] = {}
    kept = []
    for cone in cones:
        counts[cone.source] = counts.get(cone.source, 0) + 1
        if counts[cone.source] <= tables.most:
            kept.append(cone)
    return kept


def _source_of(graph: TfliteGraph, operator: Any, sources: Mapping[int, int]) -> int | None:
    """The tensor that an element-wise operator is a function of; None if there are several."""
    if graph.kind(operator) not in ELEMENTWISE:
        return None
    result = int(operator.outputs[0])
    entering = [int(index) for index in operator.inputs]
    found = set()
    for index in entering:
        if graph.is_constant(index):
            if graph.values(index).size != 1:
                return None
        else:
            found.add(sources.get(index, index))
    if len(found) != 1:
        return None
    (source,) = found
    alike = graph.shape(source) == graph.shape(result) and graph.type(source) == "float32"
    return source if alike else None


def _ends(graph: TfliteGraph, result: int, source: int, sources: Mapping[int, int]) -> bool:
    """Whether somebody reads a tensor who is no part of a function of the same source."""
    if graph.is_output(result):
        return True
    return any(sources.get(int(op.outputs[0])) != source for op, _ in graph.readers(result))


def _between(graph: TfliteGraph, made: dict[int, Any], source: int, result: int) -> tuple[Any, ...]:
    wanted, waiting = set(), [result]
    while waiting:
        tensor = waiting.pop()
        if tensor == source or tensor in wanted or graph.is_constant(tensor):
            continue
        wanted.add(tensor)
        waiting += [int(index) for index in made[tensor].inputs]
    return tuple(op for op in graph.operators if int(op.outputs[0]) in wanted)


def _function_of(graph: TfliteGraph, cone: _Cone) -> Function:
    steps = [
        (
            ELEMENTWISE[graph.kind(operator)],
            [int(index) for index in operator.inputs],
            int(operator.outputs[0]),
            getattr(operator.builtinOptions, "fusedActivationFunction", NO_ACTIVATION),
        )
        for operator in cone.operators
    ]
    constants = {
        index: graph.values(index).reshape(-1)[0]
        for _, entering, _, _ in steps
        for index in entering
        if graph.is_constant(index)
    }

    def function(x: np.ndarray) -> np.ndarray:
        known: dict[int, Any] = {**constants, cone.source: x.astype(np.float64)}
        for compute, entering, result, fused in steps:
            known[result] = FUSED[fused](compute(*(known[index] for index in entering)))
        return np.asarray(known[cone.result], np.float64)

    return function


# By ActivationFunctionType of the schema.
FUSED: Mapping[int, Callable[[Any], Any]] = {
    NO_ACTIVATION: lambda x: x,
    1: lambda x: np.maximum(x, 0),
    2: lambda x: np.clip(x, -1, 1),
    3: lambda x: np.clip(x, 0, 6),
    4: np.tanh,
}


def _look_up(graph: TfliteGraph, operator: Any, function: Function, tables: Tables) -> list[Any]:
    x, y = int(operator.inputs[0]), int(operator.outputs[0])
    if (graph.type(x), graph.type(y)) != (tables.type, tables.type):
        raise ExportError(f"TensorFlow's quantiser left what makes {graph.name(y)!r} in float.")
    answers = tabulate(function, _levels(graph, x), _levels(graph, y), tables)
    table = graph.add_near(y, "table", answers.shape, tables.type, answers)
    graph.tensors[table].quantization = graph.tensors[y].quantization
    offset = graph.add_near(y, "offset", (), "int32", np.array(tables.half, np.int32))
    level, place = (
        graph.add_tensor(f"{graph.name(y)}/{role}", graph.shape(x), "int32", free=graph.is_free(x))
        for role in ("level", "place")
    )
    types = {"inDataType": graph.tensors[x].type, "outDataType": graph.tensors[level].type}
    version = (
        OPERATORS["GATHER"].version if tables.type == "int8" else OPERATORS["GATHER"].version16
    )
    return [
        graph.make_int8("CAST", [x], [level], "CastOptions", **types),
        graph.make_elementwise("ADD", [level, offset], place),
        graph.make_operator("GATHER", version or 1, [table, place], [y], "GatherOptions"),
    ]


def tabulate(
    function: Function,
    entering: tuple[float, int],
    leaving: tuple[float, int],
    tables: Tables = TABLES_8,
) -> np.ndarray:
    """What a function answers to each level, from the lowest to the highest.

    Where it has no number, as a logarithm of what is below zero, the nearest level that has one
    answers: only rounding leads there.

    Args:
        function: float64 to float64, element by element.
        entering: scale and zero point of the input.
        leaving: of the output.
        tables: which levels there are.

    Raises:
        ExportError: it has no number anywhere.
    """
    levels = tables.levels
    with np.errstate(all="ignore"):
        values = function((levels - entering[1]) * entering[0])
    sound = np.flatnonzero(np.isfinite(values))
    if not len(sound):
        raise ExportError("a function of one tensor is not finite anywhere.")
    scaled = np.rint(values[_nearest(sound, len(levels))] / leaving[0]) + leaving[1]
    return np.clip(scaled, levels[0], levels[-1]).astype(tables.type)


def _nearest(sound: np.ndarray, count: int) -> np.ndarray:
    """For each place the nearest sound one, the lower of two that are as near. int64 count."""
    places = np.arange(count)
    after = np.minimum(np.searchsorted(sound, places), len(sound) - 1)
    before = np.maximum(after - 1, 0)
    lower = np.abs(places - sound[before]) <= np.abs(sound[after] - places)
    return np.where(lower, sound[before], sound[after])


def _levels(graph: TfliteGraph, tensor: int) -> tuple[float, int]:
    """(scale, zero point) of a tensor that has one of each."""
    found = graph.tensors[tensor].quantization
    return float(found.scale[0]), int(found.zeroPoint[0])
