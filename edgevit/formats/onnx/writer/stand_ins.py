"""Large weights stay where they are while TensorFlow and tf2onnx prepare a graph.

Freezing, importing and optimising a graph copies all of its constants a dozen times over. Here a
stand-in takes the place of each large weight until tf2onnx makes its own tensors: a constant of
the same shape that holds one number, NaN. Stand-ins that are all still there behind TensorFlow's
optimiser, with no NaN in any other constant, were neither folded nor looked into, and the graph is
the one that the weights themselves would have led to. Otherwise these are put in as ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

LEAST = 1 << 20  # bytes of a weight that a stand-in replaces
FLOAT = 1  # DT_FLOAT of TensorFlow
PRODUCTS = {"BatchMatMul", "BatchMatMulV2", "Einsum", "MatMul"}


class Weights(Mapping[str, bytes]):
    """The weights behind stand-ins by the names of these, copied when they are asked for.

    Args:
        function: a concrete function.
    """

    def __init__(self, function: Any):
        by_handle = {id(variable.handle): variable for variable in function.graph.variables}
        self._values: dict[str, Any] = {}  # of a variable, by each operation that hands it on
        self._standing: list[Any] = []
        for outer, inner in function.graph.captures:
            reads = [read for read in inner.consumers() if read.type == "ReadVariableOp"]
            variable = by_handle.get(id(outer))
            if variable is not None and _may_stand_in(variable, reads):
                self._standing.append(variable)
                values = variable.read_value()  # shares its memory
                named = (inner.op, *reads, *_find_reshapes(reads))
                self._values |= {operation.name: values for operation in named}

    def __getitem__(self, name: str) -> bytes:
        return bytes(self._values[name].numpy().tobytes())

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @contextlib.contextmanager
    def left_out(self) -> Iterator[None]:
        """While the context lasts, a function is frozen with stand-ins."""
        from tensorflow.python.framework import convert_to_constants, tensor_util

        kind = convert_to_constants._FunctionConverterDataInEager
        evaluate, make = kind._eval, tensor_util.make_tensor_proto
        standing = {id(variable) for variable in self._standing}

        def evaluate_lightly(data: Any, tensor: Any) -> Any:
            if id(tensor) in standing:
                return np.broadcast_to(np.float32(np.nan), tensor.shape)
            return evaluate(data, tensor)

        def make_lightly(values: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(values, np.ndarray) and values.size > 1 and not any(values.strides):
                return _make_stand_in(values.shape)
            return make(values, *args, **kwargs)

        kind._eval, tensor_util.make_tensor_proto = evaluate_lightly, make_lightly
        try:
            yield
        finally:
            kind._eval, tensor_util.make_tensor_proto = evaluate, make

    def are_untouched(self, graph_def: Any) -> bool:
        """Whether all stand-ins are in a graph as they were put in, and nothing came of them."""
        if graph_def.library.function:  # the body of a loop, where tf2onnx looks names up too
            return False
        constants = [node for node in graph_def.node if node.op == "Const"]
        found = {node.name for node in constants if _holds_nan(node.attr["value"].tensor)}
        if not found <= set(self._values):
            return False
        return len({id(self._values[name]) for name in found}) == len(self._standing)


def _may_stand_in(variable: Any, reads: list[Any]) -> bool:
    """Whether a variable is large, and nothing but products read it, reshaped or not.

    Into kernels of convolutions the optimiser multiplies scales, and what is gathered it computes
    beforehand. What is reshaped has the same bytes. It looks for constants that are all zeros or
    all ones, too.
    """
    if variable.dtype.name != "float32" or 4 * np.prod(variable.shape.as_list()) < LEAST:
        return False
    users = {user.type for step in (*reads, *_find_reshapes(reads)) for user in _users(step)}
    if users == {"Reshape"} or not users or not users <= PRODUCTS | {"Reshape"}:
        return False
    values = variable.numpy()
    return bool(values.min() < values.max())


def _users(operation: Any) -> list[Any]:
    users: list[Any] = operation.outputs[0].consumers()
    return users


def _find_reshapes(reads: list[Any]) -> list[Any]:
    return [user for read in reads for user in _users(read) if user.type == "Reshape"]


def _make_stand_in(shape: tuple[int, ...]) -> Any:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    proto = TensorProto(dtype=FLOAT, float_val=[np.nan])
    for length in shape:
        proto.tensor_shape.dim.add(size=length)
    return proto


def _holds_nan(tensor: Any) -> bool:
    from tensorflow import make_ndarray

    if len(tensor.float_val) == 1:  # one number, however many it stands for
        return bool(np.isnan(tensor.float_val[0]))
    return tensor.dtype == FLOAT and bool(np.isnan(make_ndarray(tensor)).any())
