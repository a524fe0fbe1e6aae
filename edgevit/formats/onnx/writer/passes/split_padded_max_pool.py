"""Keeps onnxruntime from changing what a padded max pooling computes.

A Pad with zeros before a MaxPool lets a zero win in windows whose values are all negative. From its
basic level on, onnxruntime moves such a Pad into the MaxPool's own ``pads`` (its pad fusion,
microsoft/onnxruntime pull request 18136), whose padding never wins: ONNX pads MaxPool with minus
infinity. The result differs wherever a border window is all negative.

The rewrite says the same in a form that no fusion touches: the MaxPool pads by itself, and a Max
with a constant lets the padded value win in just the windows that reach the padding.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    attributes_of,
    dims,
    made_by,
    operand,
    optional,
    replace,
    scalar,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.merge_slices import read_pads
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

LOWEST = np.finfo(np.float32).min


def find_padded_pool(pool: ir.Node) -> Found:
    """Starts from MaxPool."""
    pad = made_by(pool.inputs[0], "Pad")
    if pad is None:
        return None
    if sole_reader(pad.outputs[0]) is None or len(pool.outputs) > 1:
        return Declined("something else reads the padded values, or the pool's indices are read")
    widths = read_pads(pad)
    value = 0.0 if optional(pad, 2) is None else scalar(optional(pad, 2))
    if widths is None or value is None or len(widths) != 4:
        return Declined("the Pad is not of B C H W, by constants and with a constant")
    if any(widths[0]) or any(widths[1]) or min(min(pair) for pair in widths) < 0:
        return Declined("the Pad is not of the two axes of space alone, or takes away")
    kernel = list(attribute(pool, "kernel_shape", ()))
    automatic = attribute(pool, "auto_pad", "NOTSET")
    if len(kernel) != 2 or automatic not in ("NOTSET", "VALID") or attribute(pool, "ceil_mode", 0):
        return Declined("the pool is not two-dimensional, pads by itself, or rounds up")
    if None in dims(pad.inputs[0])[2:]:
        return Declined("the size of the image is not fixed")
    pads = [widths[2][0], widths[3][0], widths[2][1], widths[3][1]]
    own = list(attribute(pool, "pads", [0] * 4))
    if any(a + b >= kernel[axis % 2] for axis, (a, b) in enumerate(zip(pads, own, strict=True))):
        return Declined("a window would hold nothing but padding")
    x = operand(pad, 0)
    if value == 0 and is_at_least_zero(x):
        return partial(_pad_pool, pool, x, pads, own)
    return partial(_split, pool, x, pads, own, value)


def is_at_least_zero(value: ir.Value) -> bool:
    """Whether a value is behind an activation that never falls below zero."""
    if made_by(value, "Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs") is not None:
        return True
    clip = made_by(value, "Clip")
    low = scalar(optional(clip, 1)) if clip is not None else None
    return low is not None and low >= 0


def _pad_pool(pool: ir.Node, x: ir.Value, pads: list[int], own: list[int]) -> None:
    """Where no value is below zero, a padded zero wins where nothing would."""
    attributes = attributes_of(pool)
    attributes.pop("auto_pad", None)
    attributes["pads"] = [a + b for a, b in zip(pads, own, strict=True)]
    replace(pool.outputs[0], add_node(pool, "MaxPool", [x], dims(pool.outputs[0]), attributes))


def _split(pool: ir.Node, x: ir.Value, pads: list[int], own: list[int], value: float) -> None:
    """The pool pads by itself; a Max with a constant stands in for the padded values.

    Args:
        pool: the MaxPool.
        x: what is padded.
        pads: of the Pad: top, left, bottom, right.
        own: of the pool, likewise.
        value: that is padded.
    """
    kernel = list(attribute(pool, "kernel_shape"))
    strides = list(attribute(pool, "strides", (1, 1)))
    dilations = list(attribute(pool, "dilations", (1, 1)))
    size = [length or 0 for length in dims(x)[2:]]
    touched = [
        _touches(size[axis], kernel[axis], strides[axis], dilations[axis], pads, own, axis)
        for axis in (0, 1)
    ]
    mask = np.where(touched[0][:, None] | touched[1][None, :], value, LOWEST)
    attributes = attributes_of(pool)
    attributes.pop("auto_pad", None)
    attributes["pads"] = [a + b for a, b in zip(pads, own, strict=True)]
    shape = dims(pool.outputs[0])
    pooled = add_node(pool, "MaxPool", [x], shape, attributes)
    padding = add_constant(pool, mask[None, None].astype(np.float32), "padding")
    replace(pool.outputs[0], add_node(pool, "Max", [pooled, padding], shape))


def _touches(
    length: int, kernel: int, stride: int, dilation: int, pads: list[int], own: list[int], axis: int
) -> np.ndarray:
    """For each window along an axis: whether it reaches the explicit padding. bool windows."""
    before, after = pads[axis], pads[axis + 2]
    reach = dilation * (kernel - 1)
    span = length + before + after + own[axis] + own[axis + 2]
    starts = np.arange((span - reach - 1) // stride + 1) * stride - before - own[axis]
    places = starts[:, None] + dilation * np.arange(kernel)  # windows kernel
    inside_before = (places >= -before) & (places < 0)
    inside_after = (places >= length) & (places < length + after)
    return np.any(inside_before | inside_after, axis=1)


split_padded_max_pool = rewrite_pass(
    "split_padded_max_pool",
    "zeros padded before a max pooling as a Max behind it",
    ("MaxPool",),
    find_padded_pool,
)
