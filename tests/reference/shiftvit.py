"""ShiftViT in float64, from the paper and the tutorial's text; and its parameters."""

from __future__ import annotations

import math

import numpy as np

from reference import layers


def patch_conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution whose stride is its kernel's side, "same" padding, as reshape and product."""
    side, _, channels, filters = kernel.shape
    batch, rows, columns, _ = x.shape
    tall, wide = math.ceil(rows / side), math.ceil(columns / side)
    top, left = (tall * side - rows) // 2, (wide * side - columns) // 2
    padded = np.zeros((batch, tall * side, wide * side, channels))
    padded[:, top : top + rows, left : left + columns] = x
    patches = padded.reshape(batch, tall, side, wide, side, channels)  # B h p w p C
    patches = patches.transpose(0, 1, 3, 2, 4, 5).reshape(batch, tall, wide, side * side * channels)
    return patches @ kernel.reshape(side * side * channels, filters)  # B h w F


def shiftvit_in_numpy(images: np.ndarray, weights: list[np.ndarray], config) -> np.ndarray:
    """Logits, taking the weights one after the other in the tutorial's order of creation."""
    shift = {"paper": layers.partial_shift, "tutorial": layers.crop_and_pad}[config.form]
    queue = iter(weights)
    x = patch_conv(images.astype(np.float64), next(queue)) + next(queue)
    for stage, depth in enumerate(config.depths):
        for _ in range(depth):
            x = shift(x, config.num_div, config.shift_pixels)
            y = layers.layer_norm(x, next(queue), next(queue), config.epsilon)
            y = layers.gelu(y @ next(queue) + next(queue))
            x = x + y @ next(queue) + next(queue)
        if stage + 1 < len(config.depths):
            kernel, gamma, beta = next(queue), next(queue), next(queue)
            x = patch_conv(layers.layer_norm(x, gamma, beta, config.epsilon), kernel)
    logits = x.mean(axis=(1, 2)) @ next(queue) + next(queue)
    assert next(queue, None) is None  # every weight was used
    return logits


def count_parameters(dim, depths, num_classes, patch_size=4, mlp_ratio=2.0) -> int:
    """In closed form."""
    total = 3 * patch_size**2 * dim + dim
    for stage, depth in enumerate(depths):
        width = dim * 2**stage
        hidden = int(mlp_ratio * width)
        total += depth * (2 * width + width * hidden + hidden + hidden * width + width)
        if stage + 1 < len(depths):
            total += 4 * width * 2 * width + 2 * width
    last = dim * 2 ** (len(depths) - 1)
    return total + last * num_classes + num_classes


def nano_in_numpy(images: np.ndarray, named: dict[str, np.ndarray], config) -> np.ndarray:
    """Logits of norm="batch", activation="relu", stem="convolutions"."""

    def norm(x, name):
        return layers.batch_norm(x, named, name, config.epsilon)

    x = images.astype(np.float64)
    count = int(math.log2(config.patch_size))
    for number in range(1, count + 1):
        x = norm(layers.conv(x, named[f"stem/conv{number}/kernel"], 2), f"stem/norm{number}")
        x = np.maximum(x, 0) if number < count else x
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            name = f"stage{stage + 1}_block{block + 1}"
            x = layers.partial_shift(x, config.num_div, config.shift_pixels)
            y = np.maximum(norm(x @ named[f"{name}/expand/kernel"], f"{name}/norm1"), 0)
            x = x + norm(y @ named[f"{name}/project/kernel"], f"{name}/norm2")
        if stage + 1 < len(config.depths):
            name = f"stage{stage + 1}_merge"
            x = norm(layers.conv(x, named[f"{name}/reduction/kernel"], 2), f"{name}/norm")
    return x.mean(axis=(1, 2)) @ named["classifier/kernel"] + named["classifier/bias"]
