"""PatchConvNet in float64, from the paper and the tutorial's text; and its parameters."""

from __future__ import annotations

import itertools

import numpy as np

from reference import layers


def patchconvnet_in_numpy(images: np.ndarray, weights: list[np.ndarray], config):
    """Logits and attention, taking the weights one after the other in the order of creation."""
    queue = iter(weights)
    deep, epsilon = config.design == "deep", config.epsilon
    gelu = {"paper": layers.gelu, "tutorial": layers.gelu_tanh}[config.form]

    def norm(x):
        return layers.layer_norm(x, next(queue), next(queue), epsilon)

    x = images.astype(np.float64)
    for number in range(4 if deep else 2):
        x = layers.conv(x, next(queue), stride=2) + (0 if deep else next(queue))
        x = x if deep and number == 3 else gelu(x)
    blocks = [list(itertools.islice(queue, 13 if deep else 10))] * config.depth
    if config.form == "paper":
        blocks[1:] = [
            list(itertools.islice(queue, len(blocks[0]))) for _ in range(config.depth - 1)
        ]
    for block in blocks:
        part = iter(block)
        y = layers.layer_norm(x, next(part), next(part), epsilon)
        y = gelu(layers.conv(y, next(part)) + next(part))
        y = gelu((layers.depthwise if deep else layers.conv)(y, next(part)) + next(part))
        gate = y.mean(axis=(1, 2)) @ next(part) + (next(part) if deep else 0)
        gate = np.maximum(gate, 0) @ next(part) + (next(part) if deep else 0)
        y = y / (1 + np.exp(-gate[:, None, None]))
        y = layers.conv(y, next(part)) + next(part)
        x = x + y * (next(part) if deep else 1)
    batch, rows, columns, dim = x.shape
    token = np.broadcast_to(next(queue), (batch, 1, dim))
    heads = list(itertools.islice(queue, 8))
    tokens = norm(np.concatenate([token, x.reshape(batch, rows * columns, dim)], axis=1))
    y, attention = layers.attend(tokens[:, :1], tokens, heads)
    token, y = token[:, 0], y[:, 0]
    norms = [(next(queue), next(queue), epsilon) for _ in "ab"]
    up, up_bias, down, down_bias = itertools.islice(queue, 4)
    if deep:
        first, second = next(queue), next(queue)
        token = token + first * y
        hidden = gelu(layers.layer_norm(token, *norms[0]) @ up + up_bias)
        token = layers.layer_norm(token + second * (hidden @ down + down_bias), *norms[1])
    else:
        token = layers.layer_norm(layers.layer_norm(token + y, *norms[0]), *norms[1])
        token = token + gelu(gelu(token @ up + up_bias) @ down + down_bias)
    logits = token @ next(queue) + next(queue)
    assert next(queue, None) is None  # every weight was used
    return logits, attention[:, 0, 0, 1:].reshape(batch, rows, columns)


def count_parameters(config) -> int:
    """Of form="paper", in closed form."""
    dim, hidden, reduced = config.dim, int(config.mlp_ratio * config.dim), config.dim
    reduced //= config.se_ratio
    block = 2 * dim + 2 * (dim * dim + dim) + 2 * dim * reduced
    total = 4 * (dim * dim + dim) + 3 * 2 * dim + 2 * dim * hidden + hidden + dim + dim
    total += dim * config.num_classes + config.num_classes
    if config.design == "deep":
        widths = [3, dim // 8, dim // 4, dim // 2, dim]
        block += 9 * dim + dim + reduced + dim + dim
        total += 2 * dim
    else:
        widths = [3, dim // 2, dim]
        block += 9 * dim * dim + dim
        total += dim // 2 + dim
    total += sum(9 * before * after for before, after in itertools.pairwise(widths))
    return total + config.depth * block
