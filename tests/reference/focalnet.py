"""FocalNet in float64, from the paper and the tutorial's text; and its parameters."""

from __future__ import annotations

import numpy as np

from reference import layers


def focalnet_in_numpy(images: np.ndarray, weights: list[np.ndarray], config):
    """Outputs by name, taking the weights one after the other in the order of creation."""
    queue = iter(weights)

    def embed(x, side):
        x = layers.conv(x, next(queue), stride=side) + next(queue)
        return layers.layer_norm(x, next(queue), next(queue), config.embed_epsilon)

    x = embed(images.astype(np.float64), config.patch_size)
    found = {}
    for stage, depth in enumerate(config.depths):
        levels, window = config.focal_levels[stage], config.focal_windows[stage]
        for block in range(depth):
            channels, y = x.shape[-1], x
            if config.form == "paper":
                y = layers.layer_norm(x, next(queue), next(queue), config.epsilon)
            norm = next(queue), next(queue), config.epsilon
            y = y @ next(queue) + next(queue)
            query, context, gates = np.split(y, [channels, 2 * channels], axis=-1)
            total = 0.0
            for level in range(levels):
                kernel = next(queue)
                assert kernel.shape[0] == window + config.focal_factor * level
                context = layers.gelu(layers.depthwise(context, kernel))
                total = total + context * gates[..., [level]]
            everywhere = layers.gelu(context.mean(axis=(1, 2), keepdims=True))
            total = total + everywhere * gates[..., [levels]]
            modulator = total @ next(queue)[0, 0] + next(queue)
            x = x + (query * modulator) @ next(queue) + next(queue)
            hidden = layers.gelu(layers.layer_norm(x, *norm) @ next(queue) + next(queue))
            x = x + hidden @ next(queue) + next(queue)
            if (stage + 1, block + 1) == config.explained_block:
                found = {"gates": gates, "modulator": modulator}
        if stage + 1 < len(config.depths):
            x = embed(x, 2)
    x = layers.layer_norm(x, next(queue), next(queue), config.embed_epsilon)
    logits = x.mean(axis=(1, 2)) @ next(queue) + next(queue)
    assert next(queue, None) is None  # every weight was used
    return {"logits": logits, **found}


def count_parameters(config) -> int:
    """Of form="paper", in closed form."""
    total, before, side = 0, 3, config.patch_size
    for stage, depth in enumerate(config.depths):
        width, levels = config.dim * 2**stage, config.focal_levels[stage]
        total += side**2 * before * width + 3 * width
        before, side = width, 2
        hidden, mixed = int(config.mlp_ratio * width), 2 * width + levels + 1
        sides = [config.focal_windows[stage] + config.focal_factor * n for n in range(levels)]
        block = 4 * width + width * mixed + mixed + width * sum(side**2 for side in sides)
        block += 2 * (width * width + width) + 2 * width * hidden + hidden + width
        total += depth * block
    return total + 2 * before + before * config.num_classes + config.num_classes
