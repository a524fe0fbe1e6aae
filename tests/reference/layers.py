"""Layers in float64, from their papers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation * gamma + beta


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def windows(x: np.ndarray, side: int, stride: int) -> np.ndarray:
    """B H W C -> B h w side side C, padded with zeros as Keras' "same" does."""
    _, rows, columns, _ = x.shape
    tall, wide = math.ceil(rows / stride), math.ceil(columns / stride)
    more = [max((n - 1) * stride + side - old, 0) for n, old in ((tall, rows), (wide, columns))]
    around = [(0, 0), *((extra // 2, extra - extra // 2) for extra in more), (0, 0)]
    padded = np.pad(x, around)
    cut = [
        [
            padded[:, top * stride : top * stride + side, left * stride : left * stride + side]
            for left in range(wide)
        ]
        for top in range(tall)
    ]
    return np.moveaxis(np.array(cut), 2, 0)  # B h w side side C


def conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Kernel side side C F, "same" padding. B H W C -> B h w F."""
    return np.tensordot(windows(x, kernel.shape[0], stride), kernel, axes=3)


def depthwise(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """One kernel side side a channel, "same" padding. B H W C -> B H W C."""
    side = kernel.shape[0]
    return (windows(x, side, 1) * kernel.reshape(side, side, -1)).sum(axis=(3, 4))


def attend(queries: np.ndarray, tokens: np.ndarray, weights: list[np.ndarray]):
    """Heads one by one; eight weights as keras.layers.MultiHeadAttention has them."""
    q, q_bias, k, k_bias, v, v_bias, out, out_bias = weights
    result, attentions = out_bias, []
    for head in range(q.shape[1]):
        query = queries @ q[:, head] + q_bias[head]  # B Q D
        key = tokens @ k[:, head] + k_bias[head]  # B N D
        value = tokens @ v[:, head] + v_bias[head]  # B N D
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(q.shape[2])
        attentions.append(softmax(scores))  # B Q N
        result = result + attentions[-1] @ value @ out[head]  # B Q C
    return result, np.stack(attentions, axis=1)  # B Q C, B K Q N


def batch_norm(x: np.ndarray, weights: dict[str, np.ndarray], name: str, epsilon: float):
    """As at inference, with the weights of a name."""
    gamma, beta, mean, variance = (
        weights[f"{name}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def squeeze_excite(x: np.ndarray, weights: list[np.ndarray], activation) -> np.ndarray:
    """Weights in the layer's order, with or without biases. B H W C -> B H W C."""
    reduce, *reduce_bias = weights[: len(weights) // 2]
    expand, *expand_bias = weights[len(weights) // 2 :]
    hidden = x.mean(axis=(1, 2)) @ reduce + sum(reduce_bias)  # B hidden
    logits = activation(hidden) @ expand + sum(expand_bias)  # B C
    return x / (1 + np.exp(-logits))[:, None, None, :]


def attend_in_windows(x, query, weights, heads: int, window: int, shared: bool):
    """Window by window and head by head, with a bias for each pair of tokens.

    Args:
        x: B H W C.
        query: B w w C of the whole image; None: the windows' own.
        weights: table of biases, kernel and bias, kernel and bias of the output.
        heads: K.
        window: side of a window.
        shared: whether all heads share one bias, the first values of the table.

    Returns:
        B H W C, and the attention M K N N of the windows, row by row.
    """
    table, kernel, bias, out_kernel, out_bias = weights
    batch, rows, columns, channels = x.shape
    tokens, depth = window**2, channels // heads
    result, maps = np.empty(x.shape), []
    for number, top, left in np.ndindex(batch, rows // window, columns // window):
        down = slice(top * window, (top + 1) * window)
        right = slice(left * window, (left + 1) * window)
        parts = x[number, down, right].reshape(tokens, channels) @ kernel + bias
        if query is not None:
            parts = np.concatenate([query[number].reshape(tokens, channels), parts], axis=-1)
        mixed = []
        for head in range(heads):
            q, k, v = (
                parts[:, part * channels + head * depth : part * channels + (head + 1) * depth]
                for part in range(3)
            )
            scores = q @ k.T / math.sqrt(depth) + position_bias(table, head, window, shared)
            maps.append(softmax(scores))
            mixed.append(maps[-1] @ v)
        together = np.concatenate(mixed, axis=-1) @ out_kernel + out_bias
        result[number, down, right] = together.reshape(window, window, channels)
    return result, np.reshape(maps, (-1, heads, tokens, tokens))


def position_bias(table: np.ndarray, head: int, window: int, shared: bool) -> np.ndarray:
    """The table's entry for each pair of tokens, N N."""
    bias, side = np.empty((window**2, window**2)), 2 * window - 1
    for query, key in np.ndindex(bias.shape):
        down = query // window - key // window + window - 1
        right = query % window - key % window + window - 1
        entry = down * side + right
        bias[query, key] = table.ravel()[entry] if shared else table[entry, head]
    return bias


def partial_shift(images: np.ndarray, num_div: int, pixels: int) -> np.ndarray:
    """Pixel by pixel: the value at (r, c) is what stood ``pixels`` away, or zero."""
    _, rows, columns, channels = images.shape
    group = channels // num_div
    sources = [(0, pixels), (0, -pixels), (pixels, 0), (-pixels, 0)]  # left, right, up, down
    result = images.copy()
    for index, (down, across) in enumerate(sources):
        members = slice(index * group, (index + 1) * group)
        for row, column in product(range(rows), range(columns)):
            old_row, old_column = row + down, column + across
            inside = 0 <= old_row < rows and 0 <= old_column < columns
            value = images[:, old_row, old_column, members] if inside else 0.0
            result[:, row, column, members] = value
    return result


def crop_and_pad(images: np.ndarray, group: int, pixels: int) -> np.ndarray:
    """The tutorial's get_shift_pad: crop_to_bounding_box, then pad back at the same offset."""
    _, rows, columns, _ = images.shape
    modes = [  # offset of rows and columns, rows and columns that the crop loses
        (0, 0, 0, pixels),  # "left"
        (0, pixels, 0, pixels),  # "right"
        (0, 0, pixels, 0),  # "up"
        (pixels, 0, pixels, 0),  # "down"
    ]
    result = images.copy()
    for index, (top, left, fewer_rows, fewer_columns) in enumerate(modes):
        part = images[..., index * group : (index + 1) * group]
        height, width = rows - fewer_rows, columns - fewer_columns
        crop = part[:, top : top + height, left : left + width]
        padded = np.zeros_like(part)
        padded[:, top : top + height, left : left + width] = crop
        result[..., index * group : (index + 1) * group] = padded
    return result
