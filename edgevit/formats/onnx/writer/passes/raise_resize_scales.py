"""Scales of a Resize that reach the size they stand for.

A Resize's output has floor(length * scale) pixels. A scale is the ratio of two sizes, rounded to
float32: where it was rounded down (224 / 12), the result is one pixel short, 223, and the network
behind it does not fit. The next float32 above is above the ratio in any case, by so little that no
size is passed; pixels are read at places that differ by a ten-millionth. Source: ONNX operator
Resize, version 13 and later.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import add_constant, constant
from edgevit.formats.onnx.writer.passes.rewriting import rewrite_pass

LONGEST = 8192  # pixels of a side, as the command line accepts them
RAISED = "edgevit.raised"


@dataclass(frozen=True)
class Found:
    """A Resize, and the scales that it should have."""

    node: ir.Node
    scales: np.ndarray


def find_rounded_scales(node: ir.Node) -> Found | None:
    """Starts from Resize; once for each."""
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scales is None or not scales.size or RAISED in node.meta:
        return None  # by sizes, or computed
    exact = [Fraction(scale).denominator <= LONGEST for scale in scales.tolist()]
    if all(exact):
        return None
    return Found(node, np.where(exact, scales, np.nextafter(scales, np.float32(np.inf))))


def apply_scales(found: Found) -> None:
    """Another constant."""
    found.node.meta[RAISED] = True
    found.node.replace_input_with(2, add_constant(found.node, found.scales, "scales"))


raise_resize_scales = rewrite_pass(
    "raise_resize_scales",
    "scales of a Resize that reach the size they stand for",
    ("Resize",),
    find_rounded_scales,
    apply_scales,
)
