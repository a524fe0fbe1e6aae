"""Wide 3x3 convolutions on torch with a quarter of the multiplications, and their gradients.

Source: Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308),
F(4 x 4, 3 x 3), section 4.3: each 4 x 4 of the output comes from 6 x 6 of the input by 36 products
of matrices instead of 144. Every step is linear in what it is given, so the gradients are the same
products with transposed matrices.

In float32 the other order of sums costs some 1e-5 of the largest value. In bfloat16 the transforms
would cost all its digits.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

FEWEST_CHANNELS = 128  # narrower, the transforms cost more than the products save
MOST_WASTE = 1.4  # of tiles that reach over the border
SIDE, TILE = 4, 6  # of a tile of the output, of the input

# The paper's matrices: of input tiles, of kernels, of output tiles.
INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


def _of_squares(matrix: np.ndarray) -> torch.Tensor:
    """The transform of rows and columns at once: its Kronecker product with itself."""
    return torch.from_numpy(np.kron(matrix, matrix).astype(np.float32))


ENTER, SPREAD, LEAVE = map(_of_squares, (INPUT, KERNEL, OUTPUT))  # 36 36, 36 9, 16 36


def is_worthwhile(images: torch.Tensor, kernel: torch.Tensor) -> bool:
    """Whether a convolution of stride 1 and padding "same" gains by it on this processor.

    Args:
        images: B H W C.
        kernel: rows columns C F.
    """
    if images.device.type != "cpu" or {images.dtype, kernel.dtype} != {torch.float32}:
        return False
    rows, columns = images.shape[1:3]
    tiled = SIDE**2 * _tiles(rows) * _tiles(columns)
    wide = tuple(kernel.shape[:2]) == (3, 3) and min(kernel.shape[2:]) >= FEWEST_CHANNELS
    return wide and tiled <= MOST_WASTE * rows * columns


def convolve(images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """B H W C and 3 3 C F -> B H W F, stride 1, zeros around."""
    return _Convolution.apply(images, kernel)


def _tiles(extent: int) -> int:
    return -(-extent // SIDE)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        batch, rows, columns, channels = images.shape
        down, across, width = _tiles(rows), _tiles(columns), kernel.shape[3]
        after = SIDE * across + 1 - columns, SIDE * down + 1 - rows
        padded = functional.pad(images, (0, 0, 1, after[0], 1, after[1]))
        image, row, column, _ = padded.stride()
        tiles = padded.as_strided(  # overlapping, in memory only from the reshape on
            (TILE, TILE, batch, down, across, channels),
            (row, column, image, SIDE * row, SIDE * column, 1),
        ).reshape(TILE**2, -1)
        entered = (ENTER @ tiles).view(TILE**2, -1, channels)  # 36 N C, N tiles
        spread = (SPREAD @ kernel.reshape(9, -1)).view(TILE**2, channels, width)  # 36 C F
        left = LEAVE @ torch.bmm(entered, spread).view(TILE**2, -1)  # 16 N*F
        pixels = left.view(SIDE, SIDE, batch, down, across, width).permute(2, 3, 0, 4, 1, 5)
        ctx.save_for_backward(entered, spread)
        ctx.shape = images.shape
        return pixels.reshape(batch, SIDE * down, SIDE * across, width)[:, :rows, :columns]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients  # B H W F
        entered, spread = ctx.saved_tensors
        batch, rows, columns, channels = ctx.shape
        down, across, width = _tiles(rows), _tiles(columns), spread.shape[2]
        after = SIDE * across - columns, SIDE * down - rows
        padded = functional.pad(gradient, (0, 0, 0, after[0], 0, after[1]))
        tiles = padded.reshape(batch, down, SIDE, across, SIDE, width).permute(2, 4, 0, 1, 3, 5)
        left = (LEAVE.T @ tiles.reshape(SIDE**2, -1)).view(TILE**2, -1, width)  # 36 N F
        of_images = of_kernel = None
        if ctx.needs_input_grad[1]:
            of_spread = torch.bmm(entered.transpose(1, 2), left)  # 36 C F
            of_kernel = (SPREAD.T @ of_spread.view(TILE**2, -1)).view(3, 3, channels, width)
        if ctx.needs_input_grad[0]:
            of_tiles = ENTER.T @ torch.bmm(left, spread.transpose(1, 2)).view(TILE**2, -1)
            of_tiles = of_tiles.view(TILE, TILE, batch, down, across, channels)
            blocks = gradient.new_zeros(batch, down + 1, SIDE, across + 1, SIDE, channels)
            for y, x in product(range(TILE), repeat=2):  # tiles overlap by two
                first, inner = divmod(y, SIDE)
                second, beside = divmod(x, SIDE)
                blocks[:, first : first + down, inner, second : second + across, beside].add_(
                    of_tiles[y, x]
                )
            whole = blocks.view(batch, SIDE * (down + 1), SIDE * (across + 1), channels)
            of_images = whole[:, 1 : rows + 1, 1 : columns + 1]
        return of_images, of_kernel
