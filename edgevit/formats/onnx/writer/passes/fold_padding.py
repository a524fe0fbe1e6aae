"""Zeros padded before a convolution, or before an average pooling, as its own padding.

A convolution pads with zeros. An average pooling counts the zeros if it is told to.
"""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    attribute,
    made_by,
    operand,
    optional,
    scalar,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.merge_slices import read_pads
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_padding(node: ir.Node) -> Found:
    """Starts from Conv or AveragePool."""
    pad = made_by(node.inputs[0], "Pad")
    if pad is None:
        return None
    if sole_reader(pad.outputs[0]) is None:
        return Declined("something else reads the padded values")
    widths = read_pads(pad)
    value = 0.0 if optional(pad, 2) is None else scalar(optional(pad, 2))
    if widths is None or value != 0:
        return Declined("it pads by something else than constant zeros")
    space = widths[2:]
    if any(widths[0]) or any(widths[1]) or not space or min(min(pair) for pair in space) < 0:
        return Declined("the Pad is not of the axes of space alone, or takes away")
    own = list(attribute(node, "pads", [0] * 2 * len(space)))
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return Declined("it pads by itself as it sees fit")
    if node.op_type == "AveragePool" and (any(own) or attribute(node, "ceil_mode", 0)):
        return Declined("the pooling pads by itself, or rounds up")
    more = [pair[side] for side in (0, 1) for pair in space]
    return partial(_fold, node, pad, [a + b for a, b in zip(own, more, strict=True)])


def _fold(node: ir.Node, pad: ir.Node, pads: list[int]) -> None:
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    if node.op_type == "AveragePool":
        node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    node.replace_input_with(0, operand(pad, 0))


fold_padding = rewrite_pass(
    "fold_padding",
    "padded zeros as the padding of what follows",
    ("Conv", "AveragePool"),
    find_padding,
)
