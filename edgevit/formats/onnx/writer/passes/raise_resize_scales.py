"""Scales of a Resize that reach the size they stand for.

A Resize's output has floor(length * scale) pixels. A scale is the ratio of two sizes, rounded to
float32: where it was rounded down (224 / 12), the result is one pixel short, 223, and the network
behind it does not fit. The next float32 above is above the ratio in any case, by so little that no
size is passed; pixels are read at places that differ by a ten-millionth. Source: ONNX operator
Resize, version 13 and later.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import constant, optional, set_constant
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass

LONGEST = 8192  # pixels of a side, as the command line accepts them
RAISED = "edgevit.raised"


def find_rounded_scales(node: ir.Node) -> Found:
    """Starts from Resize; once for each."""
    scales = constant(optional(node, 2))
    if scales is None or not scales.size or RAISED in node.meta:
        return None  # by sizes, or computed
    exact = [Fraction(scale).denominator <= LONGEST for scale in scales.tolist()]
    if all(exact):
        return None
    raised = np.where(exact, scales, np.nextafter(scales, np.float32(np.inf)))
    return partial(_set_scales, node, raised)


def _set_scales(node: ir.Node, scales: np.ndarray) -> None:
    node.meta[RAISED] = True
    set_constant(node, 2, scales, "scales")


raise_resize_scales = rewrite_pass(
    "raise_resize_scales",
    "scales of a Resize that reach the size they stand for",
    ("Resize",),
    find_rounded_scales,
)
