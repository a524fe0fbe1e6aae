"""A run of a functional model that holds no value longer than it is read."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def values_dropped() -> Iterator[None]:
    """While the context lasts, functional models drop each value behind its last reader.

    Keras keeps what all layers returned until the model returns: of a transformer on 32 pictures
    that is many times its weights.
    """
    from keras.src.ops.function import Function
    from keras.src.ops.symbolic_arguments import SymbolicArguments

    run, fill_in = Function._run_through_graph, SymbolicArguments.fill_in
    frames: list[_Readers] = []  # of the models that are being run, the innermost last

    def run_dropping(self: Any, *args: Any, **kwargs: Any) -> Any:
        frames.append(_Readers(self))
        try:
            return run(self, *args, **kwargs)
        finally:
            frames.pop()

    def fill_in_dropping(self: Any, values: dict[int, Any]) -> Any:
        found = fill_in(self, values)
        if frames:
            frames[-1].drop_read(self, values)
        return found

    Function._run_through_graph, SymbolicArguments.fill_in = run_dropping, fill_in_dropping
    try:
        yield
    finally:
        Function._run_through_graph, SymbolicArguments.fill_in = run, fill_in


class _Readers:
    """How often each value of a model will still be read.

    Args:
        model: a functional model.
    """

    def __init__(self, model: Any):
        nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes]
        self._read = {
            id(node.arguments): [id(value) for value in node.input_tensors]
            for node in nodes
            if not node.is_input
        }
        self._left = Counter(key for keys in self._read.values() for key in keys)
        self._left.update(id(value) for value in model.outputs)  # which nothing takes away

    def drop_read(self, arguments: Any, values: dict[int, Any]) -> None:
        """Drops what nothing reads behind the call with these arguments."""
        self._left.subtract(self._read.get(id(arguments), ()))
        for key in [key for key in values if not self._left[key]]:
            del values[key]
