"""A Dense layer whose result is cut into columns, as one Dense layer for each part.

Attention often computes query, key and value in one product and cuts it. Cutting copies; three
products of a third each read the same rows and write what is needed where it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgevit.export.declined import Declined
from edgevit.export.onnx_passes.editing import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    readers,
    replace,
    reshape,
    sole_reader,
)
from edgevit.export.onnx_passes.merge_slices import read_bounds
from edgevit.export.onnx_passes.rewriting import Rewrite

# What reads the parts of a shift: there one product and a Split are less work.
JOINS = ("Pad", "Slice", "Concat")


@dataclass(frozen=True)
class Found:
    """A Gemm, the value that is cut, and (Slice, first column, column after the last)."""

    node: ir.Node
    whole: ir.Value
    parts: tuple[tuple[ir.Node, int, int], ...]


def find_parts(node: ir.Node) -> Found | Declined | None:
    """Starts from Gemm."""
    value = node.outputs[0]
    width = dims(value)[-1]
    step = sole_reader(value)
    if step is not None and step.op_type == "Reshape":
        if dims(step.outputs[0])[-1:] != (width,):
            return None
        value = step.outputs[0]
    uses = readers(value)
    if not uses or any(use.op_type != "Slice" for use in uses):
        return None
    if value.is_graph_output():
        return Declined("the graph returns what is cut")
    if any(constant(part) is None for part in node.inputs[1:]) or attribute(node, "transB", 0):
        return Declined("the weights are not constant, or transposed")
    if any(after.op_type in JOINS for use in uses for after in readers(use.outputs[0])):
        return Declined("its parts are put together again")
    last = len(dims(value)) - 1
    parts = []
    for use in uses:
        bounds = read_bounds(use)
        if bounds is None or list(bounds) != [last]:
            return Declined("it is not cut along its columns")
        parts.append((use, *bounds[last]))
    if sum(stop - start for _, start, stop in parts) > (width or 0):
        return Declined("the parts overlap")
    return Found(node, value, tuple(parts))


def apply_parts(found: Found) -> None:
    """A Gemm for each part, on the same rows."""
    node = found.node
    rows = dims(node.outputs[0])[0]
    arrays = [constant(part) for part in node.inputs[1:]]
    for use, start, stop in found.parts:
        inputs = [node.inputs[0]]
        for array, role in zip(arrays, ("kernel", "bias"), strict=False):
            assert array is not None
            inputs.append(add_constant(use, array[..., start:stop].copy(), role))
        attributes = {key: item.value for key, item in node.attributes.items()}
        output = add_node(use, "Gemm", inputs, (rows, stop - start), attributes)
        replace(use.outputs[0], reshape(use, output, dims(use.outputs[0])))


split_dense = Rewrite("split_dense", ("Gemm",), find_parts, apply_parts)
