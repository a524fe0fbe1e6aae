"""ViT in float64, from the paper and the tutorial's text; and its parameters in closed form."""

from __future__ import annotations

import itertools

import numpy as np

from reference import layers


def vit_in_numpy(images: np.ndarray, weights: list[np.ndarray], config):
    """Logits and attention, taking the weights one after the other in the order of creation."""
    queue = iter(weights)

    def norm(x):
        return layers.layer_norm(x, next(queue), next(queue), config.epsilon)

    def dense(x):
        return x @ next(queue) + next(queue)

    x = images.astype(np.float64)
    if config.form == "tutorial":
        mean, variance, _ = next(queue), next(queue), next(queue)
        x = (x - mean) / np.sqrt(variance)
    side, count = config.patch_size, config.image_size // config.patch_size
    patches = [
        x[:, row * side : (row + 1) * side, column * side : (column + 1) * side].reshape(len(x), -1)
        for row, column in itertools.product(range(count), repeat=2)
    ]
    x = dense(np.stack(patches, axis=1))  # B N dim
    if config.pool == "token":
        token = np.broadcast_to(next(queue), (len(x), 1, config.dim))
        x = np.concatenate([token, x], axis=1)
    x = x + next(queue)
    for _ in range(config.depth):
        tokens = norm(x)
        y, attention = layers.attend(tokens, tokens, list(itertools.islice(queue, 8)))
        x = x + y
        y = dense(layers.gelu(dense(norm(x))))
        x = x + (layers.gelu(y) if config.mlp_last_gelu else y)
    x = norm(x)
    x = x[:, 0] if config.pool == "token" else x.reshape(len(x), -1)
    for _ in config.head:
        x = layers.gelu(dense(x))
    logits = dense(x)
    assert next(queue, None) is None  # every weight was used
    return logits, attention


def count_parameters(config) -> int:
    """Of form="paper", in closed form."""
    tokens = (config.image_size // config.patch_size) ** 2
    dim, inner = config.dim, config.num_heads * config.head_dim
    total = 3 * config.patch_size**2 * dim + dim + tokens * dim + 2 * dim
    total += 2 * dim if config.pool == "token" else 0  # the token and its position
    block = 4 * dim + 3 * (dim * inner + inner) + inner * dim + dim
    block += 2 * dim * config.mlp_dim + config.mlp_dim + dim
    features = dim if config.pool == "token" else tokens * dim
    widths = [features, *config.head, config.num_classes]
    total += sum(before * after + after for before, after in itertools.pairwise(widths))
    return total + config.depth * block
