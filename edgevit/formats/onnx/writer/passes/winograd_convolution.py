"""Wide 3 x 3 convolutions by Winograd's minimal filtering: fewer multiplications, more bytes.

Source: Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308),
F(2 x 2, 3 x 3), section 4.1: each 2 x 2 of the output comes from 4 x 4 of the input by 16 products
instead of 36. In standard operators on B H W C: a Gather takes the overlapping tiles, a product
with 16 x 16 numbers transforms them, each of the 16 places is one matrix product of its own
(runtimes repack the second operand of a batched product in every run, but not that of a single
one), a product with 4 x 16 transforms back, and a Gather puts pixels in order.

onnxruntime convolves directly. Measured in 1.31 on one AVX2 thread, times of the direct form: 0.67
for 256 channels on 12 x 12, 0.74 on 14 x 14, 0.85 for 128 on 28 x 28; 1.15 for 64 on 24 x 24, which
therefore stays. Kernels grow by 16/9, so this is done in onnx-float32-cpu only, in
float32, where the other order of sums costs some 3e-6 of the result's deviation.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    add_split,
    attribute,
    constant,
    dims,
    operand,
    optional,
    replace,
    reshape,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined

FEWEST_CHANNELS = 128  # narrower, the transforms cost more than the products save
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # channels

# The paper's matrices: of kernels, of input tiles, of output tiles.
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
EVERYWHERE = 5  # the place, of 16, that is added to all four pixels: it carries the bias


def find_wide_convolution(node: ir.Node) -> Found:
    """Starts from Conv."""
    kernel = constant(node.inputs[1])
    if kernel is None or kernel.shape[2:] != (3, 3):
        return None
    if attribute(node, "group", 1) != 1:
        return None
    ones = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}
    if any(tuple(attribute(node, key, ())) != value for key, value in ones.items()):
        return Declined("strides, dilations or borders of another kind")
    if min(kernel.shape[:2]) < FEWEST_CHANNELS:
        return Declined("few channels: the transforms would cost more than they save")
    shape = dims(node.inputs[0])
    if len(shape) != 4 or None in shape[1:]:
        return Declined("the size of the image is not fixed")
    bias = constant(optional(node, 2))
    if bias is None and optional(node, 2) is not None:
        return Declined("a computed bias")
    return partial(_filter, node, kernel, bias)


def _filter(node: ir.Node, kernel: np.ndarray, bias: np.ndarray | None) -> None:
    """Tiles, transform, 16 products, transform, pixels; a Transpose at both ends.

    Args:
        node: the Conv.
        kernel: K C 3 3.
        bias: K, or None.
    """
    x = operand(node, 0)
    batch = dims(x)[0]
    channels, rows, columns = (length or 0 for length in dims(x)[1:])
    width = len(kernel)
    down, across = -(-rows // 2), -(-columns // 2)
    tiles = down * across

    last = add_node(node, "Transpose", [x], (batch, rows, columns, channels), {"perm": LAST})
    pixels = reshape(node, last, (batch, rows * columns, channels))
    pads = add_constant(node, np.array([0, 0, 0, 0, 1, 0], np.int64), "pads")
    longer = add_node(node, "Pad", [pixels, pads], (batch, rows * columns + 1, channels))
    taken = _gather(node, longer, tile_rows(rows, columns), channels)
    flat = reshape(node, taken, (batch, 16, tiles * channels))
    entering = add_constant(node, np.kron(INPUT, INPUT).astype(np.float32), "enter")
    spread = add_node(node, "MatMul", [entering, flat], (batch, 16, tiles * channels))
    places = _split(node, reshape(node, spread, (batch, 16, tiles, channels)), batch)
    products = []
    for place, (part, matrix) in enumerate(zip(places, transform_kernel(kernel), strict=True)):
        weights = add_constant(node, matrix, "kernel")
        product = add_node(node, "MatMul", [part, weights], (batch, 1, tiles, width))
        if place == EVERYWHERE and bias is not None:
            inputs = [product, add_constant(node, bias, "bias")]
            product = add_node(node, "Add", inputs, (batch, 1, tiles, width))
        products.append(product)
    joined = add_node(node, "Concat", products, (batch, 16, tiles, width), {"axis": 1})
    flat = reshape(node, joined, (batch, 16, tiles * width))
    leaving = add_constant(node, np.kron(OUTPUT, OUTPUT).astype(np.float32), "leave")
    pixels = add_node(node, "MatMul", [leaving, flat], (batch, 4, tiles * width))
    pixels = reshape(node, pixels, (batch, 4 * tiles, width))
    pixels = _gather(node, pixels, pixel_rows(rows, columns), width)
    last = reshape(node, pixels, (batch, rows, columns, width))
    first = add_node(node, "Transpose", [last], (batch, width, rows, columns), {"perm": FIRST})
    replace(node.outputs[0], first)


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """K C 3 3 -> 16 C K, computed in float64."""
    found = np.einsum("ai,bj,kcij->abck", KERNEL, KERNEL, kernel.astype(np.float64))
    return found.reshape(16, kernel.shape[1], kernel.shape[0]).astype(np.float32)


def tile_rows(rows: int, columns: int) -> np.ndarray:
    """The pixel at each of the 16 places of each tile: 16 * tiles; one past the last is zero."""
    # Tile (r, c) begins one pixel above and left of output (2 r, 2 c).
    row = 2 * np.arange(-(-rows // 2))[:, None] + np.arange(4) - 1  # tiles 4
    column = 2 * np.arange(-(-columns // 2))[:, None] + np.arange(4) - 1
    row, column = row.T[:, None, :, None], column.T[None, :, None, :]  # 4 4 down across
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return np.where(inside, row * columns + column, rows * columns).reshape(-1)


def pixel_rows(rows: int, columns: int) -> np.ndarray:
    """Where each output pixel lies among 4 * tiles: rows * columns."""
    row, column = np.indices((rows, columns))
    tiles = -(-columns // 2)
    corner = 2 * (row % 2) + column % 2
    return ((corner * -(-rows // 2) + row // 2) * tiles + column // 2).reshape(-1)


def _gather(before: ir.Node, x: ir.Value, rows: np.ndarray, width: int) -> ir.Value:
    places = add_constant(before, rows.astype(np.int32), "rows")
    shape = (dims(x)[0], len(rows), width)
    return add_node(before, "Gather", [x, places], shape, {"axis": 1})


def _split(before: ir.Node, x: ir.Value, batch: int | None) -> list[ir.Value]:
    """Its 16 places, B 1 tiles C each."""
    lengths = add_constant(before, np.ones(16, np.int64), "lengths")
    return add_split(before, [x, lengths], 1, [(batch, 1, *dims(x)[2:])] * 16)


winograd_convolution = rewrite_pass(
    "winograd_convolution",
    "wide 3x3 convolutions by Winograd's minimal filtering",
    ("Conv",),
    find_wide_convolution,
)
