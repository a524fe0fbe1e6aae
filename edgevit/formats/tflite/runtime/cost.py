"""Multiply-accumulates and bytes of a .tflite file, counted from the file itself."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from edgevit.core.roofline import Cost
from edgevit.formats.tflite.operators import count_macs
from edgevit.formats.tflite.runtime.file import (
    declared_specs,
    is_constant,
    op_names,
    parse_model,
    tensor_shape,
    tensor_type,
)

FLOAT, INTEGER = "float32", "int8"
INTEGER_WEIGHTS = ("int8", "uint8", "int4")
ITEM_BYTES = {"float32": 4, "int32": 4, "float16": 2, "int16": 2, "int64": 8}  # all others: 1


def count_cost(path: Path, batch: int = 1) -> Cost:
    """See :func:`edgevit.formats.registry.count_cost`."""
    model = parse_model(path.read_bytes(), str(path))
    graph = model.subgraphs[0]
    shapes = [tensor_shape(tensor) for tensor in graph.tensors]
    kinds = [tensor_type(tensor) for tensor in graph.tensors]
    constant = [is_constant(model, tensor) for tensor in graph.tensors]
    free = any(None in spec.shape[:1] for spec in declared_specs(model)[0])
    factor = batch if free else 1
    macs: Counter[str] = Counter()
    touched: set[int] = set()
    uncounted = set()
    for operator, name in zip(graph.operators, op_names(model)[0], strict=True):
        inputs = [int(index) for index in operator.inputs if index >= 0]
        result = int(operator.outputs[0])
        found = count_macs(
            name, [shapes[index] for index in inputs], shapes[result], operator.builtinOptions
        )
        if found is None:
            uncounted.add(name)
        elif found:
            macs[INTEGER if kinds[inputs[1]] in INTEGER_WEIGHTS else FLOAT] += factor * found
            touched.update([*inputs[:2], result])
    buffers = {t.buffer for t, stored in zip(graph.tensors, constant, strict=True) if stored}
    activations = sum(
        factor * math.prod(shapes[index]) * ITEM_BYTES.get(kinds[index], 1)
        for index in touched
        if not constant[index]
    )
    weight_bytes = sum(len(model.buffers[buffer].data) for buffer in buffers)
    return Cost(dict(macs), weight_bytes, activations, tuple(sorted(uncounted)))
