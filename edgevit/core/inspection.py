"""The contents of an exported file: operators, element types, constants, inputs and outputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from edgevit.base.markup import Row, show_table
from edgevit.core.roofline import Cost
from edgevit.core.tensors import TensorSpec

LARGEST = 10
FLOAT_TYPES = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True)
class StoredTensor:
    """A constant tensor inside a file.

    Attributes:
        name: as the file calls it.
        shape: sizes.
        dtype: element type.
        size_bytes: of its values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class Inspection:
    """The contents of one exported file.

    Attributes:
        format: of the file.
        size_bytes: of file or folder.
        ops: how often each operator occurs.
        tensor_types: how many tensors of each element type.
        integer_only: whether no tensor anywhere holds floats.
        float_ops: how often each operator touches a float tensor.
        custom_ops: operators that are no builtin of the format, Flex ops among them.
        partitions: for TFLite, parts that XNNPACK takes over ("delegated") and operators that it
            leaves to LiteRT's own kernels ("left"); None elsewhere and with custom operators.
        parameters: values stored in constant tensors; None where it is not counted.
        inputs: as the runtime declares them.
        outputs: likewise.
        largest: the constant tensors that take most of the file, the largest first.
        optimized_ops: for ONNX, and only if asked for: how often each operator occurs in the graph
            that onnxruntime runs, after its own optimisation.
        work: multiply-accumulates and bytes of one run (of one image, where the batch is free);
            None for a SavedModel, and unless asked for.
    """

    format: str
    size_bytes: int
    ops: dict[str, int]
    tensor_types: dict[str, int]
    integer_only: bool
    float_ops: dict[str, int]
    custom_ops: tuple[str, ...]
    partitions: dict[str, int] | None
    parameters: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    largest: tuple[StoredTensor, ...] = ()
    optimized_ops: dict[str, int] | None = None
    work: Cost | None = None

    def list_operators(self) -> list[Row]:
        """A row of cells for each kind of operator."""
        return [
            {
                "operator": name,
                "count": str(count),
                "on floats": str(self.float_ops.get(name, "-")),
            }
            for name, count in self.ops.items()
        ]

    def _repr_html_(self) -> str:
        integers = "integers only" if self.integer_only else "floats inside"
        title = f"{self.format}, {self.size_bytes / 1e6:.2f} MB, {integers}"
        return show_table(title, self.list_operators())

    @classmethod
    def of(
        cls,
        format: str,
        size_bytes: int,
        nodes: Collection[tuple[str, Collection[str]]],
        tensor_types: Iterable[str],
        specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        stored: Collection[StoredTensor] | None = None,
        custom_ops: tuple[str, ...] = (),
        partitions: dict[str, int] | None = None,
    ) -> Self:
        """Counts what a file holds.

        Args:
            format: of the file.
            size_bytes: of file or folder.
            nodes: (operator, element types of the tensors that it touches) of each.
            tensor_types: element type of each tensor.
            specs: (inputs, outputs).
            stored: the constant tensors; None where the format does not list them.
            custom_ops: see the class.
            partitions: likewise.
        """
        types = Counter(tensor_types)
        ordered = sorted(stored or (), key=lambda tensor: (-tensor.size_bytes, tensor.name))
        return cls(
            format=format,
            size_bytes=size_bytes,
            ops=count_by_name(op for op, _ in nodes),
            tensor_types=count_by_name(types.elements()),
            integer_only=types.keys().isdisjoint(FLOAT_TYPES),
            float_ops=count_by_name(
                op for op, kinds in nodes if not set(FLOAT_TYPES).isdisjoint(kinds)
            ),
            custom_ops=custom_ops,
            partitions=partitions,
            parameters=(
                None if stored is None else sum(math.prod(tensor.shape) for tensor in stored)
            ),
            inputs=specs[0],
            outputs=specs[1],
            largest=tuple(ordered[:LARGEST]),
        )


def count_by_name(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
