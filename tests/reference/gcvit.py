"""GCViT in float64, from the paper and the tutorial's text; and its parameters."""

from __future__ import annotations

import math

import numpy as np

from reference import layers


def neighbours(x: np.ndarray, stride: int) -> np.ndarray:
    """The 3x3 surroundings of every pixel, or of every other one, zero outside: B h w 3 3 C."""
    _, rows, columns, _ = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return np.stack(
        [
            np.stack(
                [
                    padded[:, down : down + rows : stride, right : right + columns : stride]
                    for right in range(3)
                ],
                axis=3,
            )
            for down in range(3)
        ],
        axis=3,
    )


class GCViTInNumpy:
    """Takes the weights one after the other in the tutorial's order of creation."""

    def __init__(self, weights: list[np.ndarray], config):
        self.queue = iter(weights)
        self.config = config

    def take(self, count: int) -> list[np.ndarray]:
        return [next(self.queue) for _ in range(count)]

    def norm(self, x, weights):
        return layers.layer_norm(x, *weights, self.config.epsilon)

    def mbconv(self, x, weights):
        depthwise, reduce, expand, project = weights
        y = layers.gelu(np.einsum("bhwijc,ijc->bhwc", neighbours(x, 1), depthwise[..., 0]))
        return x + layers.squeeze_excite(y, [reduce, expand], layers.gelu) @ project[0, 0]

    def downsample(self, x, weights):
        mbconv, reduction, norm1, norm2 = weights[:4], weights[4], weights[5:7], weights[7:]
        x = self.mbconv(self.norm(x, norm1), mbconv)
        x = np.einsum("bhwijc,ijcd->bhwd", neighbours(x, 2), reduction)
        return self.norm(x, norm2)

    def global_query(self, x, window, stages):
        for weights in stages:
            x = self.mbconv(x, weights)
            if x.shape[1] > window:
                x = neighbours(x, 2).max(axis=(3, 4))
        assert x.shape[1:3] == (window, window)
        return x

    def attention(self, x, query, weights, heads, window):
        """B H W C and the attention that each token receives, B H W."""
        shared = self.config.form == "tutorial"
        result, maps = layers.attend_in_windows(x, query, weights, heads, window, shared)
        received = np.empty(x.shape[:3])
        means = iter(maps.mean(axis=(1, 2)))  # N of each window
        for number, top, left in np.ndindex(len(x), x.shape[1] // window, x.shape[2] // window):
            down, right = top * window, left * window
            mean = next(means).reshape(window, window)
            received[number, down : down + window, right : right + window] = mean
        return result, received

    def block(self, x, query, weights, heads, window):
        factors = (1.0, 1.0)
        if self.config.layer_scale is not None:
            factors, weights = weights[:2], weights[2:]
        norm1, attention, norm2 = weights[:2], weights[2:7], weights[7:9]
        expand, expand_bias, project, project_bias = weights[9:]
        y, received = self.attention(self.norm(x, norm1), query, attention, heads, window)
        x = x + factors[0] * y
        y = layers.gelu(self.norm(x, norm2) @ expand + expand_bias) @ project + project_bias
        return x + factors[1] * y, received

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits, and the attention of the last block."""
        config, last = self.config, len(self.config.depths) - 1
        kernel, bias = self.take(2)
        x = images.astype(np.float64)
        x = np.einsum("bhwijc,ijcd->bhwd", neighbours(x, 2), kernel) + bias
        x = self.downsample(x, self.take(9))
        received = None
        for level, depth in enumerate(config.depths):
            heads, window = config.num_heads[level], config.window_sizes[level]
            size = 13 if config.layer_scale is None else 15
            blocks = [self.take(size) for _ in range(depth)]
            down = self.take(9) if level < last else None
            stages = max(1, round(math.log2(x.shape[1] / window)))
            query = self.global_query(x, window, [self.take(4) for _ in range(stages)])
            for number, weights in enumerate(blocks):
                given = query if number % 2 else None
                x, received = self.block(x, given, weights, heads, window)
            if down is not None:
                x = self.downsample(x, down)
        logits = self.norm(x, self.take(2)).mean(axis=(1, 2)) @ next(self.queue) + next(self.queue)
        assert next(self.queue, None) is None  # every weight was used
        return logits, received


def count_parameters(config) -> int:
    """In closed form."""

    def mbconv(width):
        return 9 * width + 2 * width * (width // 4) + width**2

    def downsample(width, wider):
        return mbconv(width) + 9 * width * wider + 2 * width + 2 * wider

    total = 27 * config.dim + config.dim + downsample(config.dim, config.dim)
    for level, depth in enumerate(config.depths):
        width, window = config.dim * 2**level, config.window_sizes[level]
        hidden = int(config.mlp_ratio * width)
        side = config.image_size // 4 // 2**level
        for block in range(depth):
            total += 4 * width + (2 * window - 1) ** 2 * config.num_heads[level]  # norms, table
            parts = 2 if block % 2 else 3
            total += width * parts * width + parts * width + width**2 + width  # attention
            total += width * hidden + hidden + hidden * width + width  # MLP
            total += 0 if config.layer_scale is None else 2 * width
        if level + 1 < len(config.depths):
            total += downsample(width, 2 * width)
        total += max(1, round(math.log2(side / window))) * mbconv(width)
    last = config.dim * 2 ** (len(config.depths) - 1)
    return total + 2 * last + last * config.num_classes + config.num_classes
