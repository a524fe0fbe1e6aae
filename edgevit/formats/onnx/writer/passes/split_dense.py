"""A Dense layer whose result is cut into columns, as one Dense layer for each part.

Attention often computes query, key and value in one product and cuts it. Cutting copies; three
products of a third each read the same rows and write what is needed where it is needed. Parts of
one column (FocalNet's gates) stay together: onnxruntime 1.31 takes 10 us for one column of 9 x 1024
or 36 x 512 and 6 for three, since it multiplies with 16 columns at a time.
"""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    attributes_of,
    constant,
    dims,
    readers,
    replace,
    reshape,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.merge_slices import add_slice, read_bounds
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

# What reads the parts of a shift: there one product and a Split are less work.
JOINS = ("Pad", "Slice", "Concat")

Part = tuple[ir.Node, int, int]  # Slice, first column, column after the last


def find_parts(node: ir.Node) -> Found:
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
    if all(stop - start == 1 for _, start, stop in parts):
        return Declined("single columns stay together")
    return partial(_split, node, value, parts)


def _split(node: ir.Node, whole: ir.Value, parts: list[Part]) -> None:
    """A Gemm for each part, on the same rows; neighbouring single columns share one."""
    rows, shape = dims(node.outputs[0])[0], dims(whole)
    arrays = [constant(part) for part in node.inputs[1:]]
    for group in _groups(parts):
        first, last = group[0][1], group[-1][2]
        before = group[0][0] if len(group) == 1 else node  # in front of all readers
        inputs = [node.inputs[0]]
        for array, role in zip(arrays, ("kernel", "bias"), strict=False):
            assert array is not None
            inputs.append(add_constant(before, array[..., first:last].copy(), role))
        output = add_node(before, "Gemm", inputs, (rows, last - first), attributes_of(node))
        output = reshape(before, output, (*shape[:-1], last - first))
        for use, start, stop in group:
            part, axis = output, len(shape) - 1
            if len(group) > 1:
                bounds = {axis: (start - first, stop - first)}
                part = add_slice(use, output, bounds, list(dims(use.outputs[0])))
            replace(use.outputs[0], part)


def _groups(parts: list[Part]) -> list[list[Part]]:
    """Each part alone, but single columns together with those beside them."""
    groups: list[list[Part]] = []
    for part in sorted(parts, key=lambda item: item[1]):
        _, start, stop = part
        beside = groups and groups[-1][-1][2] == start and groups[-1][-1][1] == start - 1
        if beside and stop - start == 1:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


split_dense = rewrite_pass(
    "split_dense",
    "one Gemm for each part of a result that is cut",
    ("Gemm",),
    find_parts,
)
