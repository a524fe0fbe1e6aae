"""Convolutions that are matrix products, written as such.

A 1x1 convolution is a Dense layer on each pixel, a convolution whose stride is its kernel's size a
Dense layer on each patch. Images of Keras are B H W C, those of ONNX's Conv B C H W: as a Gemm on
rows neither needs the two Transposes around it.

Only convolutions between such Transposes are rewritten, or patches cut from an image that is B C H
W anyway.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    constant,
    count_of,
    dims,
    made_by,
    maker,
    operand,
    optional,
    path_of,
    replace,
    reshape,
    sole_reader,
    trained,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

TO_CHANNELS_FIRST = (0, 3, 1, 2)
TO_CHANNELS_LAST = (0, 2, 3, 1)


def find_product(node: ir.Node) -> Found:
    """Starts from Conv."""
    kernel = constant(node.inputs[1])
    if kernel is None or kernel.ndim != 4:
        return Declined("the kernel is not a constant of four axes")
    window = (int(kernel.shape[2]), int(kernel.shape[3]))
    strides = tuple(attribute(node, "strides", (1, 1)))
    if strides != window:
        return None  # its windows overlap, or leave gaps
    if attribute(node, "group", 1) != 1:
        return Declined("a grouped convolution")
    automatic = attribute(node, "auto_pad", "NOTSET")
    if any(attribute(node, "pads", ())) or automatic not in ("NOTSET", "VALID"):
        return Declined("it is padded")
    if window != (1, 1) and tuple(attribute(node, "dilations", (1, 1))) != (1, 1):
        return Declined("it is dilated")
    x = operand(node, 0)
    rows, columns = dims(x)[2:] if len(dims(x)) == 4 else (None, None)
    if rows is None or columns is None or rows % window[0] or columns % window[1]:
        return Declined("its windows do not divide the image")
    after = sole_reader(node.outputs[0])
    if after is None or not _permutes(after, TO_CHANNELS_LAST):
        return Declined("its result is read as B C H W")
    before = made_by(x, "Transpose")
    channels_last = before is not None and _permutes(before, TO_CHANNELS_FIRST)
    if not channels_last and (window == (1, 1) or dims(x)[0] is None):
        return Declined("its input is B C H W")
    if channels_last and before is not None:
        x = operand(before, 0)
    return partial(_lower, node, x, channels_last, after.outputs[0])


def _lower(node: ir.Node, x: ir.Value, channels_last: bool, result: ir.Value) -> None:
    """Cuts patches (nothing to do for 1x1), one Gemm, then B H W C again."""
    last, path, kernel = maker(result), path_of(node), trained(node, 1)
    high, wide = kernel.shape[2:]
    batch, *lengths = dims(result)
    rows, columns, width = (length or 0 for length in lengths)  # of the result
    count = count_of(dims(result)[:-1])
    channels = int(kernel.shape[1])
    shape: tuple[int | None, ...]
    order: tuple[int, ...]
    if channels_last:
        if (high, wide) != (1, 1):
            strips = count_of((batch, rows))
            x = reshape(last, x, (strips, high, columns, wide * channels), path)  # B*h p w q*C
            shape = (strips, columns, high, wide * channels)
            x = add_node(last, "Transpose", [x], shape, {"perm": (0, 2, 1, 3)}, path)
        matrix = kernel.transpose(2, 3, 1, 0)  # p q C O
    else:
        if batch == 1:
            shape, order = (channels, rows, high, columns, wide), (1, 3, 0, 2, 4)
        else:
            shape, order = (batch, channels, rows, high, columns, wide), (0, 2, 4, 1, 3, 5)
        x = reshape(last, x, shape, path)  # B C h p w q
        shape = tuple(shape[axis] for axis in order)
        x = add_node(last, "Transpose", [x], shape, {"perm": order}, path)  # B h w C p q
        matrix = kernel.transpose(1, 2, 3, 0)  # C p q O
    size = high * wide * channels
    x = reshape(last, x, (count, size), path)  # rows p*q*C
    inputs = [x, add_constant(node, matrix.reshape(size, width).astype(np.float32), "kernel")]
    bias = optional(node, 2)
    if bias is not None:
        inputs.append(bias)
    output = add_node(last, "Gemm", inputs, (count, width), path=path)
    replace(result, reshape(last, output, dims(result), path))


def _permutes(node: ir.Node, order: tuple[int, ...]) -> bool:
    return node.op_type == "Transpose" and tuple(attribute(node, "perm", ())) == order


lower_convolution = rewrite_pass(
    "lower_convolution",
    "convolutions whose windows do not overlap as Gemms",
    ("Conv",),
    find_product,
)
